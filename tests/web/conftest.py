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
def beside(tmp_path: Path) -> Iterator[Atlas]:
    """An atlas of a network with other weights, over the same images."""
    from backlight.atlas import open_atlas
    from fuzz.tiny import make_tiny_atlas

    make_tiny_atlas(tmp_path / "beside.atlas", 1)
    opened = open_atlas(tmp_path / "beside.atlas")
    yield opened
    opened.close()


@pytest.fixture(params=["alone", "compared"])
def site(atlas: Atlas, beside: Atlas, request: pytest.FixtureRequest) -> Site:
    """Its site, by itself, and beside the other one."""
    from backlight.web.site import Site

    return Site(atlas, beside if request.param == "compared" else None)
