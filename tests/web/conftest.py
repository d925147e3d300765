"""A small atlas and its site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # a conftest is read before types are checked, which Backlight must not be
    from backlight.atlas import Atlas
    from backlight.web.site import Site


@pytest.fixture
def atlas(tmp_path: Path) -> Iterator[Atlas]:
    """An atlas of three layers, two maps shown of each, two hits of a map, and the labels a and b."""
    from backlight.atlas import open_atlas
    from fuzz.tiny import make_tiny_atlas

    make_tiny_atlas(tmp_path / "tiny.atlas")
    opened = open_atlas(tmp_path / "tiny.atlas")
    yield opened
    opened.close()


@pytest.fixture
def site(atlas: Atlas) -> Site:
    """Its site."""
    from backlight.web.site import Site

    return Site(atlas)
