"""What tests of several studies share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import backlight
from studies.planted import MEAN, SIZE, Detector, Planted, plant


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    """An atlas of the network that finds a planted pattern, with the network and the images."""
    pattern, source = plant(12, np.random.default_rng(5))
    net = backlight.capture(Detector(pattern), (3, SIZE, SIZE), MEAN)
    return backlight.build(net, source, tmp_path / "a.atlas", ["relu_1"], top=9), net, source
