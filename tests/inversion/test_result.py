"""The result of an inversion: its errors in the ways of both papers, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backlight import Network
from backlight.inversion import Inversion, InversionConfig, invert, spread_of


def test_errors_in_the_ways_of_both_papers(net: Network, picture: Image.Image, quick: None) -> None:
    photographs = torch.randn(5, 3, 32, 32)
    found = invert(net, picture, "relu2", InversionConfig("quick", restarts=2), photographs)
    features = net.features([net.layer("relu2")])
    with torch.no_grad():
        codes = features(photographs)[0].flatten(1).double()
        distance = (
            (features(torch.tensor(found.images))[0] - features(net.prepare(picture))[0])
            .flatten(1)
            .norm(dim=1)
        )
    pairs = [float((a - b).norm()) for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j]
    assert found.spread is not None
    assert found.spread == spread_of(net, photographs, "relu2")
    assert found.spread.distance == pytest.approx(np.mean(pairs), rel=1e-5)
    np.testing.assert_allclose(found.normalised_errors, distance.numpy() / np.mean(pairs), rtol=1e-4)  # type: ignore[arg-type]
    squared = np.sum(np.square(pairs)) / 25  # the zeros of the diagonal count
    np.testing.assert_allclose(found.squared_errors, distance.numpy() ** 2 / squared, rtol=1e-4)  # type: ignore[arg-type]


def test_it_is_saved_and_loaded(net: Network, picture: Image.Image, tmp_path: Path, quick: None) -> None:
    found = invert(
        net, picture, "relu2", InversionConfig("quick", centre=3, frames=3), torch.randn(3, 3, 32, 32)
    )
    found.save(tmp_path / "found")
    loaded = Inversion.load(tmp_path / "found")
    assert loaded.summary() == found.summary()
    assert loaded.config == found.config
    assert loaded.spread == found.spread
    np.testing.assert_array_equal(loaded.images, found.images)
    assert found.plot().axes
    assert loaded._repr_png_()[:4] == b"\x89PNG"
