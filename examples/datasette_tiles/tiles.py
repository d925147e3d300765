"""Shows the pictures of an atlas in Datasette: every value that is WebP becomes an image in the table.

pip install datasette
datasette A.atlas --plugins-dir examples/datasette_tiles
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from datasette import hookimpl
from markupsafe import Markup

LARGEST_BYTES = 200_000
"""Larger pictures stay links to their bytes: a page of Datasette shows a hundred rows."""


@hookimpl
def render_cell(value: Any) -> Markup | None:
    """Return an image for the bytes of a WebP; None leaves the value to Datasette."""
    if not isinstance(value, bytes) or not is_webp(value) or len(value) > LARGEST_BYTES:
        return None
    data = b64encode(value).decode("ascii")
    # base64 has no character that could end the attribute
    return Markup(f'<img src="data:image/webp;base64,{data}" alt="picture of {len(value)} bytes">')


def is_webp(value: bytes) -> bool:
    """Return whether bytes begin as those of a WebP do (RFC 9649)."""
    return value[:4] == b"RIFF" and value[8:12] == b"WEBP"
