"""Origin: what `backlight build` was given, so that later commands on the atlas need not be given it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from backlight.atlas.schema import writing

KEY = "origin"
CLASSES = "classes"
"""The key of the table `meta` under which names of classes are kept, where some were given."""


def keep_origin(path: Path, origin: Mapping[str, str | None]) -> None:
    """Keep what an atlas was built from: its model, weights, images and options, as typed, but for passwords.

    Raises:
        AtlasError: The file is not an atlas.
        StorageError: It cannot be written.
    """
    with writing(path) as connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (KEY, json.dumps(dict(origin))))
