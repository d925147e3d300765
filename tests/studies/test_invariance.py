"""Invariance: planted truth is found, distances are those of the definition, transformations do what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch import nn
from torchvision.transforms.functional import InterpolationMode, affine
from typer.testing import CliRunner

import backlight
from backlight.cli.invariance import invariance
from backlight.cli.parsing import parse_amounts
from backlight.errors import ActivationError, BadInputError, UnknownLayerError
from backlight.render.plots import new_plot
from backlight.studies.classes import are_probabilities
from backlight.studies.invariance import Invariance, InvarianceConfig, default_layers, run
from backlight.studies.invariance.transforms import (
    BORDERS,
    TRANSFORMS,
    Border,
    Transform,
    is_exact,
    is_identity,
    transformed,
)
from conftest import SmallNet

SIZE = 32
PLAIN = backlight.Preprocessing(None, (SIZE, SIZE), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
FEW = InvarianceConfig(translation=(-3, 0, 4), scale=(1.0, 1.3), rotation=(0.0, 90.0, 200.0))


def _pictures(count: int, seed: int = 0) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    return [Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)) for _ in range(count)]


@cache
def _small() -> backlight.Network:
    torch.manual_seed(0)
    return backlight.capture(SmallNet(), (3, SIZE, SIZE), PLAIN)


# --- transformations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(
    ("transform", "amount"), [("translation", 0.0), ("scale", 1.0), ("rotation", 0.0), ("rotation", -720.0)]
)
def test_amounts_that_change_nothing_give_exactly_the_image(
    transform: Transform, amount: float, border: Border
) -> None:
    image = torch.randn(3, 9, 13)
    image[:, :4] = 0
    assert is_identity(transform, amount)
    assert torch.equal(transformed(image, transform, amount, border), image)


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (8, 10), (7, 8)])
def test_what_only_moves_pixels_is_exact_and_gives_no_other_value(size: tuple[int, int]) -> None:
    image = torch.randint(0, 5, (1, *size), generator=torch.Generator().manual_seed(1)).double()
    steps = [
        *[("translation", amount) for amount in (-2.0, 0.0, 3.0)],
        *[("rotation", amount) for amount in (-90.0, 0.0, 30.0, 90.0, 180.0, 270.0, 360.0, 450.0)],
        *[("scale", amount) for amount in (0.9, 1.0, 1.5, 2.0)],
    ]
    for transform, amount in steps:
        turned = transformed(image, transform, amount, "edge")
        whole = (
            turned - turned.round()
        ).abs().max() < 1e-5  # between pixels some value would be no whole number
        assert whole == is_exact(transform, amount, *size), (transform, amount)
    assert not is_exact("translation", 0.5, *size)


def test_a_shift_brings_every_pixel_to_its_place_and_the_border_shows_its_fill() -> None:
    image = torch.randn(3, 9, 13) + 2
    for down in (-3.0, 2.0):
        kept, came = (slice(0, 6), slice(3, 9)) if down < 0 else (slice(2, 9), slice(0, 7))
        gone = slice(6, 9) if down < 0 else slice(0, 2)
        mean = transformed(image, "translation", down)
        torch.testing.assert_close(mean[:, kept], image[:, came], rtol=0, atol=1e-6)
        torch.testing.assert_close(mean[:, gone], image.mean((1, 2), keepdim=True).expand_as(mean[:, gone]))
        edge = transformed(image, "translation", down, "edge")
        torch.testing.assert_close(edge[:, kept], image[:, came], rtol=0, atol=1e-6)
        outermost = image[:, [-1 if down < 0 else 0]]
        torch.testing.assert_close(edge[:, gone], outermost.expand_as(edge[:, gone]))


def test_quarter_turns_of_a_square_go_counter_clockwise_and_lose_nothing() -> None:
    image = torch.randn(3, 8, 8)
    for border in BORDERS:
        for quarter in (1, 2, 3, -1):
            turned = transformed(image, "rotation", 90.0 * quarter, border)
            torch.testing.assert_close(turned, torch.rot90(image, quarter, (1, 2)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(24, 24), (20, 31)])
@pytest.mark.parametrize(
    ("transform", "amount"),
    [("translation", 5.0), ("scale", 1.35), ("scale", 0.7), ("rotation", 33.0), ("rotation", 250.0)],
)
def test_inside_of_the_border_torchvision_does_the_same(
    transform: Transform, amount: float, size: tuple[int, int]
) -> None:
    image = torch.rand(3, *size, dtype=torch.float64)
    marked = torch.cat([image, torch.ones(1, *size, dtype=torch.float64)])
    wanted = affine(
        marked,
        angle=-amount if transform == "rotation" else 0.0,
        translate=[0, int(amount)] if transform == "translation" else [0, 0],
        scale=amount if transform == "scale" else 1.0,
        shear=[0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    inside = wanted[3] > 1 - 1e-6
    assert 0.3 < inside.double().mean() <= 1
    for border in BORDERS:
        found = transformed(image, transform, amount, border)
        assert (found - wanted[:3])[:, inside].abs().max() < 1e-5
    outside = wanted[3] < 1e-6
    if outside.any():
        filled = transformed(image, transform, amount)[:, outside]
        torch.testing.assert_close(filled, image.mean((1, 2))[:, None].expand_as(filled))


def test_whatever_kind_of_tensor_comes_is_what_goes() -> None:
    image = torch.rand(1, 6, 6).half()
    turned = transformed(image, "rotation", 30.0)
    assert turned.dtype == torch.float16
    assert turned.shape == (1, 6, 6)


# --- distances --------------------------------------------------------------------------------------------------


def test_a_study_gives_what_a_loop_over_its_definition_gives() -> None:
    net, pictures = _small(), _pictures(3)
    result = run(net, pictures, ["relu1", "relu2", "fc"], FEW, classes=[4, 0, 1])
    inputs = net.prepare(pictures)
    steps = [(t, a) for t in TRANSFORMS for a in getattr(FEW, t)]
    for layer in result.layers:
        features = net.features([net.layer(layer)])
        for i, image in enumerate(inputs):
            original = features(image[None])[0].detach().double().flatten()
            for k, (transform, amount) in enumerate(steps):
                copy = transformed(image, transform, float(amount))[None]
                moved = (features(copy)[0].detach().double().flatten() - original).norm()
                at = result.layers.index(layer), i
                np.testing.assert_allclose(result.raw_distances[0][at][k], moved, rtol=1e-4, atol=1e-9)
                place = [a for t, a in steps if t == transform].index(amount)
                relative = result.distances(layer, transform)[i, place]
                np.testing.assert_allclose(relative, moved / original.norm(), rtol=1e-4, atol=1e-9)
                np.testing.assert_allclose(
                    result.distances(layer, transform, raw=True)[i, place], moved, rtol=1e-4, atol=1e-9
                )
                if layer == "fc":
                    probability = features(copy)[0][0].softmax(0)[[4, 0, 1][i]].item()
                    np.testing.assert_allclose(result.probabilities[i, k], probability, rtol=1e-4)
            other = (features(inputs[[(i + 1) % 3]])[0].detach().double().flatten() - original).norm()
            np.testing.assert_allclose(result.other_distances[0][at], other, rtol=1e-4)
    assert result.other("fc", raw=True) == pytest.approx(result.other_distances[0, 2].mean())
    assert result.classes.tolist() == [4, 0, 1]


def test_maps_move_as_a_loop_over_the_definition_says() -> None:
    net, pictures = _small(), _pictures(2)
    config = InvarianceConfig(translation=(0, 2, 5), scale=(1.0,), rotation=(70.0,))
    result = run(net, pictures, ["relu1", "relu2"], config=config)
    inputs = net.prepare(pictures)
    for layer, maps in (("relu1", 8), ("relu2", 12)):
        features = net.features([net.layer(layer)])
        for channel in range(maps):
            moves, peaks, sizes, tops = 0.0, 0.0, 0.0, 0.0
            for image in inputs:
                original = features(image[None])[0][0, channel]
                copies = [
                    features(transformed(image, "translation", float(a))[None])[0][0, channel] for a in (2, 5)
                ]
                moves += sum(float((copy - original).norm()) for copy in copies) / 2
                peaks += sum(abs(float(copy.max() - original.max())) for copy in copies) / 2
                sizes += float(original.norm())
                tops += float(original.max())
            whole = result.moves_of_maps(layer, "translation")[channel]
            peak = result.moves_of_maps(layer, "translation", "peak")[channel]
            if sizes == 0:
                assert np.isnan(whole)
                continue
            np.testing.assert_allclose(whole, moves / sizes, rtol=1e-4)
            np.testing.assert_allclose(peak, peaks / tops, rtol=1e-3, atol=1e-6)
        assert np.isnan(result.moves_of_maps(layer, "scale")).all()
    assert result.moves_of_maps("relu2", "rotation").shape == (12,)


def test_what_does_not_change_the_image_is_at_distance_zero_and_keeps_the_probability() -> None:
    result = run(_small(), _pictures(2), config=FEW)
    for transform, at in (("translation", 1), ("scale", 0), ("rotation", 0)):
        for layer in result.layers:
            values = result.distances(layer, transform)
            assert (values[:, at] == 0).all()
            assert (np.delete(values, at, 1) > 0).all()
        own = result.probabilities[:, result.of(transform)]
        assert (own[:, at] == result.original_probabilities).all()


# --- planted truth ----------------------------------------------------------------------------------------------


class ShiftBlind(nn.Module):
    """Filters of one row, a rectifier, and the largest value of each map: a vertical shift changes nothing late."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Conv2d(1, 6, (1, 5), padding=(0, 2))
        self.fc = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.rows(x)).amax((2, 3)))


def _content(height: int = 8) -> torch.Tensor:
    """Return a grey image that is 0 but for some rows in the middle, and whose mean is 0: the border then is too."""
    image = torch.zeros(1, SIZE, SIZE)
    rows = torch.randn(height, SIZE, generator=torch.Generator().manual_seed(1))
    image[0, 12 : 12 + height] = rows - rows.mean()
    return image


def test_a_network_made_blind_to_vertical_shifts_moves_early_and_not_late() -> None:
    net = backlight.capture(ShiftBlind(), (1, SIZE, SIZE))
    assert default_layers(net)[0] == "relu"
    images = torch.stack([_content(), -_content()])
    result = run(
        net, images, config=InvarianceConfig(translation=tuple(range(-10, 11, 2)), rotation=(0.0, 90.0))
    )
    first, late = result.layers
    early, other = result.distances(first, "translation"), result.distances(late, "translation")
    changed = result.amounts[result.of("translation")] != 0
    assert (early[:, changed] > 0.5).all()
    assert other.max() < 1e-5
    assert np.ptp(result.probabilities[:, result.of("translation")], axis=1).max() < 1e-5
    assert result.distances(late, "rotation")[:, 1].min() > 0.1
    assert result.distances(late, "scale")[:, 1:].min() > 1e-3
    assert result.distances(first, "translation", "peak").max() < 1e-5


class TurnBlind(nn.Module):
    """A layer of single pixels and its mean over all places: a quarter turn of a square changes nothing late."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Conv2d(3, 7, 1)
        self.fc = nn.Linear(7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.points(x)).mean((2, 3)))


def test_a_network_made_blind_to_quarter_turns_moves_at_other_angles_only() -> None:
    net = backlight.capture(TurnBlind(), (3, SIZE, SIZE), PLAIN)
    turns = InvarianceConfig(
        translation=(0,), scale=(1.0,), rotation=(0.0, 45.0, 90.0, 135.0, 180.0, 270.0, 300.0)
    )
    result = run(net, _pictures(2), config=turns)
    first, late = result.layers
    values, quarters = result.distances(late, "rotation"), np.array([2, 4, 5])
    assert values[:, quarters].max() < 1e-5
    assert values[:, [1, 3, 6]].min() > 1e-2
    assert result.distances(first, "rotation")[:, quarters].min() > 0.1
    assert result.distances(first, "rotation", "peak")[:, quarters].max() < 1e-5
    # of the vector of the maps' means, each unit is a map of one place
    np.testing.assert_array_equal(
        result.moves_of_maps(late, "rotation"), result.moves_of_maps(late, "rotation", "peak")
    )


class OneBlindMap(nn.Module):
    """Five maps of which one, the third, is each column's largest value in every row; one is dead."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = x.amax(2, keepdim=True).expand_as(x)
        rows = torch.arange(SIZE, dtype=x.dtype).reshape(1, 1, SIZE, 1) / SIZE
        maps = [x, x * rows, columns, x * (1 - rows), x * 1e-9, x.roll(3, 3) * rows.square()]
        return torch.relu(torch.cat(maps, 1))


def test_a_planted_map_is_ranked_the_most_invariant_and_a_dead_one_not_at_all() -> None:
    net = backlight.capture(OneBlindMap(), (1, SIZE, SIZE))
    assert [layer.name for layer in net.layers][-1] == "relu"
    result = run(net, _content()[None], ["relu"], config=InvarianceConfig(translation=tuple(range(-8, 9, 4))))
    moves = result.moves_of_maps("relu", "translation")
    assert moves[2] < 1e-5
    assert np.isnan(moves[4])
    assert np.nanmin(np.delete(moves, 2)) > 0.5
    maps = result.summary()["translation"]["layers"]["relu"]["whole"]["maps"]
    assert maps["n_active"] == 5
    assert maps["most"][0]["map"] == 2
    assert maps["most"][0]["to_other_image"] is None
    assert [row["map"] for row in maps["least"]] == [row["map"] for row in maps["most"]][::-1]
    assert {row["map"] for row in maps["most"]} == {0, 1, 2, 3, 5}
    # by its peak alone the map that copies the image is as invariant: it moves with the image
    peaks = result.moves_of_maps("relu", "translation", "peak")
    assert peaks[0] < 1e-5
    assert peaks[1] > 0.1


def test_a_map_that_is_the_same_for_every_image_is_told_by_the_other_images() -> None:
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(torch.cat([x, 0 * x + 1], 1))

    net = backlight.capture(Constant(), (1, SIZE, SIZE))
    result = run(net, torch.rand(3, 1, SIZE, SIZE), ["relu"], config=FEW)
    assert result.moves_of_maps("relu", "rotation")[1] < 1e-6
    assert result.moves_to_others("relu")[1] < 1e-6
    assert result.moves_to_others("relu")[0] > 0.3


# --- layers, classes, amounts -----------------------------------------------------------------------------------


def test_the_default_layers_are_the_first_and_the_one_before_the_output() -> None:
    assert default_layers(_small()) == ["relu1", "mean"]
    convs = [layer for _ in range(3) for layer in (nn.Conv2d(3, 3, 3), nn.ReLU())]
    net = backlight.capture(nn.Sequential(*convs), (3, SIZE, SIZE))
    assert default_layers(net) == ["1", "5"]
    result = run(net, torch.rand(2, 3, SIZE, SIZE), config=FEW)
    assert result.shapes == ((3, 30, 30), (3, 26, 26))
    assert result.classes.shape == (0,)
    assert result.probabilities.shape == (0, 0)
    assert result.summary()["rotation"]["probability"] is None
    assert result.summary()["images"][0]["class"] is None
    assert len(result.plot().axes) == 3 * 3 + 1
    with pytest.raises(BadInputError, match="classes cannot be followed: Sequential returns one output"):
        run(net, torch.rand(2, 3, SIZE, SIZE), classes=[0, 1], config=FEW)


def test_the_class_is_the_networks_own_unless_given_and_the_figure_says_which() -> None:
    net, pictures = _small(), _pictures(2)
    answers = net(net.prepare(pictures)).argmax(1).tolist()
    own = run(net, pictures, config=replace(FEW, class_names=tuple("abcde")))
    assert own.classes.tolist() == answers
    assert not own.class_given
    assert [own.class_name(i) for i in (0, 1)] == ["abcde"[c] for c in answers]
    figure = own.plot()
    assert "own class" in [axes.get_title() for axes in figure.axes]
    assert "need not be the true one" in " ".join(figure.get_supxlabel().split())
    given = run(net, pictures, classes=[3, 3], config=FEW)
    assert given.summary()["images"][1]["class"] == {
        "index": 3,
        "name": "class 3",
        "is_given": True,
        "output": None,
        "probability": pytest.approx(net(net.prepare(pictures)).softmax(1)[1, 3].item(), rel=1e-4),
    }
    assert "true class" in [axes.get_title() for axes in given.plot().axes]


def test_outputs_that_are_probabilities_already_stay_as_they_are() -> None:
    logits = SmallNet()
    plain = backlight.capture(logits, (3, SIZE, SIZE), PLAIN)
    soft = backlight.capture(nn.Sequential(logits, nn.Softmax(1)), (3, SIZE, SIZE), PLAIN)
    pictures = _pictures(2)
    found = [
        run(net, pictures, [layer], config=FEW).probabilities
        for net, layer in ((plain, "relu1"), (soft, "0.relu1"))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert not are_probabilities(np.array([-0.5, 1.5]))


def test_amounts_come_in_order_once_and_default_shifts_follow_the_height() -> None:
    config = InvarianceConfig(translation=(5, -5, 5), scale=(1.5, 1.0), rotation=(90.0, 0.0))
    assert config.amounts(SIZE) == {
        "translation": [-5.0, 5.0],
        "scale": [1.0, 1.5],
        "rotation": [0.0, 90.0],
    }
    own = InvarianceConfig().amounts(224)
    assert own["translation"] == [5.0 * i for i in range(-12, 13)]
    assert (own["scale"][0], own["scale"][-1], len(own["scale"])) == (1.0, 1.8, 17)
    assert own["rotation"] == [10.0 * i for i in range(36)]
    assert max(InvarianceConfig().amounts(SIZE)["translation"]) == 9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"translation": ()}, "translation needs at least one amount, all finite, got none"),
        ({"scale": ()}, "scale needs at least one amount"),
        ({"rotation": ()}, "rotation needs at least one amount"),
        (
            {"rotation": (0.0, float("nan"))},
            "rotation needs at least one amount, all finite, got 0.0, nan",
        ),
        ({"scale": (1.0, 0.0)}, "a scale is a factor above 0 .* got 0.0"),
        ({"scale": (-1.0,)}, "a scale is a factor above 0 .* got -1.0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_amounts_that_cannot_be_used_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        InvarianceConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "no images to shift, magnify and turn"),
        ({"classes": [0, 5]}, "class 5 is out of range: SmallNet has 5 classes, 0 to 4"),
        ({"classes": [-1, 0]}, "class -1 is out of range"),
        ({"classes": [0]}, "each image has one class, got 1 for 2 images"),
        ({"config": InvarianceConfig(class_names=("a", "b"))}, "has 5 classes, got 2 names"),
        (
            {"config": InvarianceConfig(translation=(0, -32))},
            "a shift of -32 leaves nothing of an image of 32 rows",
        ),
    ],
)
def test_what_does_not_fit_the_network_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        run(**({"net": _small(), "images": _pictures(2)} | arguments))  # type: ignore[arg-type]


def test_unknown_layers_no_images_of_a_tensor_and_no_layers_are_refused() -> None:
    net = _small()
    with pytest.raises(UnknownLayerError, match="SmallNet has no layer 'relu9'"):
        run(net, _pictures(1), ["relu9"])
    with pytest.raises(BadInputError, match="no images to shift, magnify and turn; give at least one"):
        run(net, torch.zeros(0, 3, SIZE, SIZE))
    with pytest.raises(BadInputError, match="has no feature maps to take by default; name layers"):
        run(backlight.capture(nn.AvgPool2d(2), (3, SIZE, SIZE)), torch.zeros(1, 3, SIZE, SIZE))


def test_activations_that_are_not_finite_are_an_error_and_a_dead_layer_is_none() -> None:
    net = _small()
    with pytest.raises(ActivationError, match="not finite for these images"):
        run(net, torch.full((1, 3, SIZE, SIZE), float("nan")), config=FEW)
    with torch.no_grad():
        dead = SmallNet()
        dead.conv1.weight.zero_()
        dead.conv1.bias.fill_(-1)
    result = run(backlight.capture(dead, (3, SIZE, SIZE), PLAIN), _pictures(2), ["relu1"], config=FEW)
    own = result.summary()["scale"]["layers"]["relu1"]["whole"]
    assert (own["mean"], own["furthest"], own["other_image"]) == (None, None, None)
    assert own["maps"] == {"n_active": 0, "most": [], "least": []}
    figure = result.plot()
    assert "relu1 · 8×16×16" in [axes.get_title() for axes in figure.axes]


# --- the result -------------------------------------------------------------------------------------------------


def test_a_result_comes_again_whatever_the_batch_and_comes_back_from_its_files(tmp_path: Path) -> None:
    net, pictures = _small(), _pictures(3)
    steps: list[tuple[str, int, int]] = []
    first = run(net, pictures, config=FEW, progress=lambda *step: steps.append(step))
    for size in (1, 7, 64):
        other = run(net, pictures, config=replace(FEW, batch_size=size))
        for name in ("raw_distances", "probabilities", "map_moves", "other_map_moves"):
            np.testing.assert_allclose(getattr(first, name), getattr(other, name), rtol=1e-3, atol=1e-5)
    first.save(tmp_path / "found")
    back = Invariance.load(tmp_path / "found")
    assert back.summary() == first.summary() == json.loads((tmp_path / "found.json").read_text())["summary"]
    assert (back.config, back.layers, back.shapes) == (FEW, ("relu1", "mean"), ((8, 16, 16), (12,)))
    np.testing.assert_array_equal(back.pictures, first.pictures)
    assert {step[0] for step in steps} == {"invariance"}
    assert all(a[1] < b[1] for a, b in pairwise(steps))
    assert steps[-1][1:] == (3 * 7, 3 * 7)


def test_only_what_changes_an_image_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    net, seen = _small(), []
    from backlight.studies.invariance import changes

    monkeypatch.setattr(changes, "transformed", lambda image, *step: seen.append(step) or image)
    run(net, _pictures(1), config=FEW)
    assert [step[:2] for step in seen] == [
        ("translation", -3.0),
        ("translation", 4.0),
        ("scale", 1.3),
        ("rotation", 90.0),
        ("rotation", 200.0),
    ]


def test_the_summary_says_where_a_layer_moves_least_and_furthest() -> None:
    result = run(_small(), _pictures(2), config=FEW)
    values = result.distances("relu1", "translation").mean(0)
    own = result.summary()["translation"]["layers"]["relu1"]["whole"]
    assert own["least_change"] == {"amount": -3.0, "value": pytest.approx(values[0])}
    assert own["mean"] == pytest.approx(values[[0, 2]].mean())
    assert own["furthest"]["value"] == pytest.approx(values.max())
    probabilities = result.probabilities[:, result.of("rotation")].mean(0)
    found = result.summary()["rotation"]["probability"]
    assert found["lowest"]["value"] == pytest.approx(probabilities[1:].min())
    assert found["original"] == pytest.approx(probabilities[0])


def test_the_figure_has_a_line_for_each_image_in_the_papers_layout() -> None:
    result = run(_small(), _pictures(6), config=FEW)
    for raw, measure in ((False, "whole"), (True, "peak")):
        figure = result.plot(raw=raw, measure=measure)
        assert len(figure.axes) == 3 * 4 + 1
        (distance,) = [axes for axes in figure.axes if axes.get_title() == "relu1 · 8×16×16"]
        assert len(distance.get_lines()) == 6 + 1
        shown = distance.get_lines()[1].get_ydata()
        np.testing.assert_array_equal(shown, result.distances("relu1", "translation", measure, raw)[0])
        assert distance.get_ylabel() == ("distance" if raw else "relative distance")
        texts = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
        assert texts[0].startswith("image 0 (class ")
        assert texts[-1] == "another image"
        assert "Examples of the first 5 images" in " ".join(figure.get_supxlabel().split())
    examples = figure.axes[0]
    assert [text.get_text() for text in examples.texts] == ["-3 px", "+0 px", "+4 px"]
    assert len(examples.get_images()) == 5 * 3


def test_quarter_turns_are_rings_beside_the_line_through_turns_that_blur() -> None:
    turns = InvarianceConfig(translation=(-1, 0, 2), scale=(1.0,), rotation=(0.0, 80.0, 90.0, 100.0, 180.0))
    result = run(_small(), _pictures(1), ["relu1"], turns)
    assert result.exact("rotation").tolist() == [True, False, True, False, True]
    assert result.exact("translation").all()
    found = result.summary()
    assert (found["rotation"]["exact"], found["translation"]["exact"]) == ([0, 90, 180], [-1, 0, 2])
    figure = result.plot()
    shifts, turned = figure.axes[1], figure.axes[1 + 2 * 3]
    curve, rings = (own.get_xdata().tolist() for own in turned.get_lines())
    assert (curve, rings) == ([0, 80, 100], [0, 90, 180])
    (shifted,) = shifts.get_lines()
    assert shifted.get_xdata().tolist() == [-1, 0, 2]
    assert "Rings: " in figure.get_supxlabel()
    alike = run(_small(), _pictures(1), ["relu1"], replace(turns, rotation=(0.0, 90.0, 180.0)))
    assert "Rings: " not in alike.plot().get_supxlabel()
    assert len(alike.plot().axes[1 + 2 * 3].get_lines()) == 1


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Return the command, called with arguments in a folder with a model and two pictures."""
    tests = str(Path(__file__).parents[1])
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.insert(0, {tests!r})\nfrom conftest import SmallNet as make\n"
    )
    for name, picture in zip(("a.png", "b.png"), _pictures(2), strict=True):
        picture.save(tmp_path / name)
    (tmp_path / "names.txt").write_text("ant\nbee\ncow\ndog\neel\n")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(invariance)

    def call(*arguments: str, images: tuple[str, ...] = ("a.png", "b.png")) -> object:
        quick = ["--size", "32", "--rotation", "0,90", "--scale", "1:1.2:0.1"]
        return CliRunner().invoke(app, ["mine.py:make", *images, *quick, *arguments], catch_exceptions=True)

    return call


def test_the_command_prints_tables_and_writes_figure_and_numbers(
    command: Callable[..., object], tmp_path: Path
) -> None:
    result = command(
        "-o", "c.png", "--save", "n", "--class", "1,4", "--labels", "names.txt", "--layers", "relu1,fc"
    )
    assert result.exit_code == 0, result.output
    saved = Invariance.load(tmp_path / "n")
    assert saved.layers == ("relu1", "fc")
    assert saved.images == ("a.png", "b.png")
    assert [saved.class_name(i) for i in (0, 1)] == ["bee", "eel"]
    assert saved.amounts[saved.of("scale")].tolist() == [1.0, 1.1, 1.2]
    value = saved.summary()["rotation"]["layers"]["relu1"]["whole"]["mean"]
    assert f"relu1 whole {value:.2f}" in " ".join(result.output.split())
    assert "probability of the true class:" in result.output
    assert "the most invariant" in result.output
    assert Image.open(tmp_path / "c.png").width > 1000


def test_the_command_draws_what_is_asked_for(
    command: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[bool, str]] = []
    monkeypatch.setattr(
        Invariance,
        "plot",
        lambda self, raw, measure: drawn.append((raw, measure)) or new_plot(1, 1, (1.0, 1.0))[0],
    )
    arguments = ("--raw", "--measure", "peak", "--translation", "-4:4:4", "--layers", "all")
    result = command("-o", "d.pdf", *arguments, images=("a.png",))
    assert result.exit_code == 0, result.output
    assert drawn == [(True, "peak")]
    assert "probability of the network's own class:" in result.output
    assert "relu2" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "c.gif"), "a figure is written as .png, .webp, .pdf, .svg or .jpg"),
        (("--class", "1"), "each image has one class, got 1 for 2 images"),
        (("--class", "1,9"), "class 9 is out of range: SmallNet has 5 classes"),
        (("--class", "1,a"), "--class is a list of numbers"),
        (("--translation", "1.5"), "--translation takes whole numbers, got '1.5'"),
        (("--translation", ""), "translation needs at least one amount"),
        (("--scale", "0"), "a scale is a factor above 0"),
        (("--rotation", "0:90:0"), "--rotation: the step must lead from the first to the last"),
        (("--rotation", "0:90"), "--rotation is a list of numbers"),
        (("--border", "black"), "a border is mean or edge, got 'black'"),
        (("--measure", "all"), "--measure is whole or peak, got 'all'"),
        (("--labels", "none.txt"), "cannot read the labels 'none.txt' \\(No such file"),
        (("--layers", "relu9"), "SmallNet has no layer 'relu9'"),
    ],
)
def test_the_command_refuses_what_cannot_be_used(
    command: Callable[..., object], arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        raise command(*arguments).exception


def test_amounts_are_lists_and_ranges_that_reach_their_end() -> None:
    assert parse_amounts("--scale", "1:1.8:0.05") == InvarianceConfig().scale
    assert parse_amounts("--rotation", "0:350:10") == InvarianceConfig().rotation
    assert parse_amounts("--translation", "3, -4:4:3") == (3.0, -4.0, -1.0, 2.0)
    assert parse_amounts("--translation", "4:-4:-8") == (4.0, -4.0)
