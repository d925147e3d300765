"""A prober of the tiny atlas."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # a conftest is read before types are checked, which Backlight must not be
    from backlight.atlas import Atlas
    from backlight.network import Network
    from backlight.web.probe.prober import Prober


@pytest.fixture
def net() -> Network:
    """The network of the tiny atlas."""
    from fuzz.tiny import tiny_network

    return tiny_network()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Its images."""
    from fuzz.tiny import make_tiny_pictures

    return make_tiny_pictures(tmp_path / "pictures")


@pytest.fixture
def prober(atlas: Atlas, net: Network, pictures: Path) -> Prober:
    """What looks at images by it."""
    from backlight.images import open_images
    from backlight.web.probe.prober import Prober
    from backlight.web.views import Views

    return Prober(Views(atlas), net, open_images(pictures), Lock())
