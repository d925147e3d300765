"""The open file of an atlas."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import backlight
from backlight.errors import AtlasError


def test_readers_cannot_write(atlas: backlight.Atlas) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        atlas.file.connection.execute("DELETE FROM hit")


def test_a_closed_atlas_says_so(tiny: Path) -> None:
    atlas = backlight.open_atlas(tiny)
    atlas.close()
    with pytest.raises(AtlasError, match="is closed; open it again with open_atlas"):
        _ = atlas.phase
