"""Cards: what notebooks show of an atlas, a feature map or a hit, as HTML or PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable
from html import escape

from PIL import Image


def card(title: str, reason: str) -> str:
    """Return what is known of something without a picture, and why it has none, as HTML."""
    return f"<p>{escape(title)}</p><p>No picture: {escape(reason)}.</p>"


def layer_table(title: str, layers: Iterable[tuple[str, int, int]]) -> str:
    """Return a table of layers as HTML: of each its name, its feature maps, and how many of them were projected."""
    rows = "".join(
        f"<tr><td style='text-align:left'><code>{escape(name)}</code></td><td>{n_maps}</td><td>{n_projected}</td></tr>"
        for name, n_maps, n_projected in layers
    )
    head = "<tr><th>layer</th><th>maps</th><th>projected</th></tr>"
    return f"<p>{escape(title)}</p><table>{head}{rows}</table>"


def as_png(picture: Image.Image) -> bytes:
    """Return a picture as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
