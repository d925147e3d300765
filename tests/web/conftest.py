"""A small atlas and its site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backlight.atlas import Atlas, open_atlas
from backlight.web.site import Site
from fuzz.tiny import make_tiny_atlas


@pytest.fixture
def atlas(tmp_path: Path) -> Iterator[Atlas]:
    """An atlas of three layers, two maps shown of each, two hits of a map, and the labels a and b."""
    make_tiny_atlas(tmp_path / "tiny.atlas")
    opened = open_atlas(tmp_path / "tiny.atlas")
    yield opened
    opened.close()


@pytest.fixture
def site(atlas: Atlas) -> Site:
    """Its site."""
    return Site(atlas)
