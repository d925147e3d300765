"""What the tests of inversions share: a small network, a picture, and a recipe of few steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backlight import Network, Preprocessing
from backlight.inversion import RECIPES, Stage
from backlight.inversion.optimisers import Adam
from backlight.inversion.recipes import wide
from conftest import captured_small_net


@pytest.fixture
def quick() -> Iterator[None]:
    """Add the recipe "quick": the default with few steps, which moves the image about."""
    stages = (Stage(Adam(12.0), 12, jitter=True), Stage(Adam(8.0), 12))
    RECIPES["quick"] = lambda place, strength: replace(wide(place, strength), stages=stages)
    yield
    del RECIPES["quick"]


@pytest.fixture
def net() -> Network:
    """Return a small network with the preprocessing of a zoo."""
    preprocessing = Preprocessing(None, (32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return captured_small_net(preprocessing)


@pytest.fixture
def picture() -> Image.Image:
    """Return a smooth picture with an edge."""
    rows, cols = np.mgrid[0:32, 0:32]
    values = np.stack([8 * rows, 255 - 8 * cols, 200 * (rows > cols)], 2)
    return Image.fromarray(values.astype(np.uint8))
