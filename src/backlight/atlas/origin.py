"""Origin: how an atlas was asked for, so that later commands on it need not be told again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from backlight.atlas.schema import writing

KEY = "origin"


def keep_origin(path: Path, origin: Mapping[str, str | None]) -> None:
    """Keep how an atlas was asked for: the texts of its model, weights and images.

    Raises:
        AtlasError: The file is no atlas.
        StorageError: It cannot be written.
    """
    with writing(path) as connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (KEY, json.dumps(dict(origin))))
