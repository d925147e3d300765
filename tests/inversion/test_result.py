"""The result of an inversion: its errors in the ways of both papers, saved and loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backlight import Box, Network
from backlight.errors import BadInputError
from backlight.inversion import CodeSpread, Inversion, InversionConfig, invert, spread_of
from inversion.made import GREY, result


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"restarts": 0}, "restarts must be at least 1, frames and seed at least 0, got 0, 0 and 0"),
        ({"frames": -1}, "got 1, -1 and 0"),
        ({"seed": -2}, "got 1, 0 and -2"),
        ({"box": Box(0, 0, 1, 1), "centre": 1}, "by box or by centre, got both"),
    ],
    ids=["restarts", "frames", "seed", "box and centre"],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        InversionConfig(**changes)  # type: ignore[arg-type]


def test_the_best_restart_has_the_lowest_objective_and_answers_are_compared_with_the_originals() -> None:
    found = replace(result(restarts=3), goals=np.array([0.09, 0.25, 0.04]))
    assert found.best == 2
    assert found.picture.getpixel((0, 0)) == GREY
    np.testing.assert_allclose(found.relative_errors, [0.3, 0.5, 0.2])
    assert found.same_label is not None
    assert found.same_label.tolist() == [True, False, True]
    for own in (replace(found, label=None), replace(found, labels=np.zeros(0, np.int64))):
        assert own.same_label is None
    assert (found.normalised_errors, found.squared_errors) == (None, None)


def test_a_summary_has_errors_for_an_inversion_and_inner_products_for_other_goals() -> None:
    found = replace(
        result(restarts=2), goals=np.array([0.09, 0.25]), norm=2.0, spread=CodeSpread(3, 4.0, 8.0)
    )
    inverted, maximised = (
        found.summary(),
        replace(found, goal="maximise", goals=np.array([-2.0, 1.0])).summary(),
    )
    assert inverted["relative_error"] == pytest.approx([0.3, 0.5])
    assert inverted["normalised_error"] == pytest.approx([0.15, 0.25])  # · 2 / 4
    assert inverted["normalised_squared_error"] == pytest.approx([0.045, 0.125])  # the squares · 2² / 8
    assert inverted["same_label"] == [True, False]
    assert maximised["inner_product"] == [2.0, -1.0]
    assert "relative_error" not in maximised
