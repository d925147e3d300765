"""Occlusion: planted truth is found, every answer comes from its own position, bad input is refused."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import backlight
from backlight.errors import ActivationError, BadInputError
from backlight.geometry import Box
from backlight.studies.covering import filled
from backlight.studies.occlusion import Occlusion, OcclusionConfig, run
from conftest import SmallNet
from studies.finder import (
    PATTERN,
    PLACE,
    SIZE,
    SQUARES,
    Last,
    finder,
    overlaps_of,
    picture,
)


@pytest.mark.parametrize("fill", ["mean", "blur", "noise"])
def test_the_planted_pattern_is_where_everything_falls_and_nowhere_else(fill: str) -> None:
    result = run(finder(), picture(1), "relu", OcclusionConfig(size=7, stride=3, fill=fill))
    watched, overlaps = result.watched, overlaps_of(result)
    assert (watched.unit.channel, watched.unit.row, watched.unit.col) == (1, PLACE.top, PLACE.left)
    assert watched.box == PLACE
    assert (watched.class_index, watched.label) == (0, 0)
    around = Box(
        *(edge + way * (PATTERN - 1) for edge, way in zip(astuple(PLACE), (-1, -1, 1, 1), strict=True))
    )
    whole, none = overlaps == PATTERN**2, overlaps_of(result, around) == 0
    assert whole.any()
    assert none.sum() > 40
    for values, uncovered in (
        (result.map_sums, watched.map_sum),
        (result.unit_values, watched.unit_value),
        (result.probabilities, watched.probability),
    ):
        assert whole[np.unravel_index(values.argmin(), values.shape)]
        assert (values[whole] < 0.25 * uncovered).all()
        np.testing.assert_allclose(values[none], uncovered, rtol=1e-4)
    assert (result.labels[whole] == 1).all()
    assert (result.labels[none] == 0).all()


def test_the_summary_says_where_and_how_far_and_agrees_with_the_projection() -> None:
    result = run(finder(), picture(1), "relu", SQUARES)
    found = json.loads(json.dumps(result.summary(), allow_nan=False))
    assert Box(*found["map_sum"]["falls_most_at"]).contains(PLACE)
    assert Box(*found["class"]["probability"]["falls_most_at"]).contains(PLACE)
    assert found["map_sum"]["fall"] > 0.75
    assert found["n_in_field"] == (overlaps_of(result) > 0).sum() < 20
    assert found["stronger_channel"] is None
    assert found["unit_value"]["fall"] == 1
    assert found["unit_value"]["agreement_with_projection"] > 0.95
    assert found["class"]["is_given"] is False
    assert {own["index"] for own in found["class"]["labels"]} == {0, 1}
    assert sum(own["positions"] for own in found["class"]["labels"]) == found["n_positions"] == 100


def test_the_agreement_is_spearmans_with_the_projection_under_the_squares_that_touch_the_field() -> None:
    torch.manual_seed(0)
    net = backlight.capture(SmallNet().eval(), (3, SIZE, SIZE))
    image = torch.randn(3, SIZE, SIZE)
    result = run(net, image, "relu2", SQUARES)
    unit = result.watched.unit
    signal = backlight.project(net, image, [unit])[0].abs().sum(0).numpy()
    falls = result.watched.map_sum - result.map_sums
    near, shown, everywhere = [], [], []
    for i, row in enumerate(result.rows.tolist()):
        for j, col in enumerate(result.cols.tolist()):
            everywhere.append(signal[row : row + 7, col : col + 7].sum())
            if Box(row, col, row + 7, col + 7).intersection(result.watched.box).area:
                near.append(falls[i, j])
                shown.append(everywhere[-1])
    assert 10 < len(near) == result.in_field().sum() < falls.size
    expected = spearmanr(near, shown).statistic
    assert abs(expected - spearmanr(falls.ravel(), everywhere).statistic) > 0.03, "the squares outside matter"
    assert result.agreement(result.map_sums, result.watched.map_sum) == pytest.approx(expected, abs=5e-3)
    assert result.agreement(np.ones((10, 10)), 1.0) is None
    assert f"over the {len(near)} of 100 squares that touch" in " ".join(
        result.plot().get_supxlabel().split()
    )


def test_two_squares_that_touch_the_field_are_too_few_to_agree() -> None:
    result = run(finder(), picture(1), "relu", OcclusionConfig(size=7, stride=3))
    values = np.random.default_rng(0).random((10, 10))
    assert result.agreement(values, 1.0) is not None
    touched = np.argwhere(result.in_field())
    rows, cols = sorted({*touched[:, 0].tolist()})[:1], sorted({*touched[:, 1].tolist()})[:2]
    few = replace(result, rows=result.rows[rows], cols=result.cols[cols])
    assert few.in_field().sum() == 2
    assert few.agreement(values[:1, :2], 1.0) is None


def test_a_leaky_map_is_summed_over_its_positive_part() -> None:
    body = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.LeakyReLU(0.5))
    with torch.no_grad():
        body[0].weight.fill_(1.0)
    image = torch.full((1, 8, 8), -1.0)
    image[0, 2:4, 2:4] = 3.0
    result = run(backlight.capture(body, (1, 8, 8)), image, "1", OcclusionConfig(size=2, stride=2))
    assert result.watched.map_sum == pytest.approx(12)  # not 12 - 60 / 2
    assert result.map_sums[1, 1] == pytest.approx(0)
    assert result.map_sums[0, 0] == pytest.approx(12)
    assert result.summary()["map_sum"]["fall"] == pytest.approx(1)


def test_every_position_is_answered_by_the_image_with_that_square_covered() -> None:
    net = backlight.capture(SmallNet().eval(), (3, 24, SIZE))
    image = torch.randn(3, 24, SIZE)
    result = run(
        net, image, "relu2", OcclusionConfig(size=6, stride=5, fill="noise", seed=4, channel=3, row=2, col=1)
    )
    assert result.rows.tolist() == [0, 5, 10, 15, 18]
    assert result.cols.tolist() == [0, 5, 10, 15, 20, 25, 26]
    fill = filled(image, "noise", np.random.default_rng(4))
    for i, row in enumerate(result.rows):
        for j, col in enumerate(result.cols):
            copy = image.clone()
            copy[:, row : row + 6, col : col + 6] = fill[:, row : row + 6, col : col + 6]
            (maps,) = net.features([net.layer("relu2")])(copy[None])
            chances = net(copy[None]).softmax(1)[0]
            np.testing.assert_allclose(result.map_sums[i, j], float(maps[0, 3].sum()), rtol=1e-4)
            np.testing.assert_allclose(result.unit_values[i, j], float(maps[0, 3, 2, 1]), atol=1e-5)
            np.testing.assert_allclose(
                result.probabilities[i, j], float(chances[result.watched.label]), rtol=1e-4
            )
            assert result.labels[i, j] == int(chances.argmax())


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_does_not_show(batch_size: int) -> None:
    net, image = backlight.capture(SmallNet().eval(), (3, SIZE, SIZE)), torch.randn(3, SIZE, SIZE)
    expected = run(net, image, "relu2", SQUARES)
    seen: list[tuple[str, int, int]] = []
    config = OcclusionConfig(size=7, stride=3, batch_size=batch_size)
    found = run(net, image, "relu2", config, progress=lambda *what: seen.append(what))
    for name in ("map_sums", "unit_values", "probabilities"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert seen[-1] == ("occlusion", 100, 100)
    assert len(seen) == -(-100 // batch_size)


def test_each_position_is_one_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from backlight.network.fast import FastNetwork

    inputs: list[int] = []
    call = FastNetwork.__call__
    monkeypatch.setattr(
        FastNetwork, "__call__", lambda self, batch: inputs.append(len(batch)) or call(self, batch)
    )
    run(finder(), picture(1), "relu", SQUARES)
    assert sum(inputs) == 1 + 100
    assert max(inputs) <= 4


def test_the_strongest_map_is_that_of_the_strongest_single_activation_not_of_the_largest_sum() -> None:
    body = nn.Conv2d(2, 2, 1, bias=False)
    with torch.no_grad():
        body.weight.copy_(torch.eye(2)[..., None, None])
    image = torch.full((2, 8, 8), 0.5)
    image[1] = 0
    image[1, 3, 4] = 2
    result = run(backlight.capture(body, (2, 8, 8)), image, "conv2d", OcclusionConfig(size=2, stride=2))
    assert result.watched.unit == backlight.Unit("conv2d", 1, 3, 4)
    assert run(
        backlight.capture(body, (2, 8, 8)), image, "conv2d", OcclusionConfig(size=2, stride=2, channel=0)
    ).watched.map_sum == pytest.approx(32)


# --- classes ------------------------------------------------------------------------------------------------------


def test_a_class_that_is_given_is_followed_and_said_to_be_given() -> None:
    result = run(finder(), picture(1), "relu", OcclusionConfig(size=7, stride=3, class_index=1))
    assert result.watched.class_index == 1
    assert result.watched.label == 0
    assert result.probabilities.max() > 0.7 > result.watched.probability
    assert result.summary()["class"]["is_given"] is True
    titles = [axes.get_title("left") for axes in result.plot().axes]
    assert "d  probability of class 1\n    (class given)" in titles


def test_probabilities_are_left_as_they_are_and_scores_become_some() -> None:
    expected = run(finder(), picture(1), "relu", SQUARES).probabilities
    for last in (lambda x: x.softmax(1), lambda x: x.log_softmax(1), lambda x: x - 7):
        found = run(finder(last), picture(1), "relu", SQUARES)
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    positive = run(finder(lambda x: x + 3), picture(1), "relu", SQUARES)  # not negative, but no distribution
    np.testing.assert_allclose(positive.probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("last", [lambda x: x[:, :1], lambda x: x[:, :, None, None].expand(-1, -1, 2, 2)])
def test_without_a_classifier_there_are_the_map_and_its_projection_alone(last: Last, tmp_path: Path) -> None:
    result = run(finder(last), picture(1), "relu", SQUARES)
    assert (result.watched.class_index, result.watched.probability, result.watched.label) == (
        None,
        None,
        None,
    )
    assert result.probabilities.shape == result.labels.shape == (0, 0)
    assert result.summary()["class"] is None
    assert overlaps_of(result)[np.unravel_index(result.map_sums.argmin(), (10, 10))] == PATTERN**2
    titles = [axes.get_title("left")[:1] for axes in result.plot().axes]
    assert [t for t in titles if t] == ["a", "b", "c"]
    result.save(tmp_path / "r")
    assert Occlusion.load(tmp_path / "r").probabilities.shape == (0, 0)


def test_a_layer_that_is_the_output_itself_can_be_watched() -> None:
    net = backlight.capture(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (3, 16, 16))
    result = run(net, torch.rand(3, 16, 16), "1", OcclusionConfig(size=16))
    assert result.map_sums.shape == (1, 1)
    assert result.plot().axes


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "layer", "message"),
    [
        (
            OcclusionConfig(size=33),
            "relu",
            "the side of the square must be 1 to 32 pixels, .* got 33",
        ),
        (
            OcclusionConfig(size=4, class_index=4),
            "relu",
            "class 4 is out of range: Finder has 4 classes, 0 to 3",
        ),
        (OcclusionConfig(size=4, class_index=-1), "relu", "class -1 is out of range"),
        (OcclusionConfig(size=4, class_names=("a", "b")), "relu", "Finder has 4 classes, got 2 names"),
        (
            OcclusionConfig(size=4, channel=3),
            "relu",
            r"channel 3 is out of range for layer 'relu' \(3 feature maps\)",
        ),
        (
            OcclusionConfig(size=4, channel=1, row=28, col=0),
            "relu",
            "row 28, column 0 is out of range for layer 'relu'",
        ),
        (
            OcclusionConfig(size=4, channel=4),
            "stack",
            r"channel 4 is out of range for layer 'stack' \(4 feature maps\)",
        ),
        (
            OcclusionConfig(size=4, channel=1, row=0, col=0),
            "stack",
            "layer 'stack' has no rows and columns; leave row and col out",
        ),
        (OcclusionConfig(size=4), "relu9", "Finder has no layer 'relu9'; did you mean 'relu'"),
    ],
)
def test_what_the_network_does_not_have_is_refused(config: OcclusionConfig, layer: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        run(finder(), picture(1), layer, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"channel": 1, "row": 2}, "a unit is given by channel, row and col together"),
        ({"row": 2, "col": 2}, "a unit is given by channel, row and col together"),
        ({"n_others": -1}, "n_others must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_a_config_is_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        OcclusionConfig(**change)


def test_one_image_at_a_time_and_a_class_only_of_a_classifier() -> None:
    for images in ([picture(1), picture(2)], torch.zeros(2, 3, SIZE, SIZE), []):
        with pytest.raises(BadInputError, match=f"slides over one image, got {len(images)}; study them one"):
            run(finder(), images, "relu", SQUARES)
    with pytest.raises(
        BadInputError,
        match="classes cannot be followed: Finder returns one output \\(1\\), which is not one number",
    ):
        run(finder(lambda x: x[:, :1]), picture(1), "relu", OcclusionConfig(size=7, class_index=2))


def test_activations_that_are_not_finite_are_refused() -> None:
    image = torch.zeros(3, SIZE, SIZE)
    image[0, 3, 3] = float("nan")
    with pytest.raises(ActivationError, match="layer 'relu' gives activations that are not finite"):
        run(finder(), image, "relu", SQUARES)
