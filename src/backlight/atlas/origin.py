"""Origin: how an atlas was asked for, so that later commands on it need not be told again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from backlight.atlas.schema import connect_for_writing, transaction

KEY = "origin"


def keep_origin(path: Path, origin: Mapping[str, str | None]) -> None:
    """Keep how an atlas was asked for: the texts of its model, weights and images.

    Raises:
        AtlasError: The file is no atlas.
        StorageError: It cannot be written.
    """
    connection = connect_for_writing(path)
    try:
        with transaction(connection, path):
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (KEY, json.dumps(dict(origin))))
    finally:
        connection.close()
