"""Occlusion in the forms that Captum's and MONAI's suites test: windows, fills, baselines, class scores, averages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import backlight
from backlight.errors import BadInputError
from backlight.network import Network
from backlight.studies.occlusion import Occlusion, OcclusionConfig, run, run_all
from conftest import captured_small_net

HEIGHT = WIDTH = 32
IMAGES = torch.randn(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(4))
PLAIN = backlight.Preprocessing(None, (HEIGHT, WIDTH), (0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
OTHER = torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def net() -> Network:
    return captured_small_net(PLAIN)


def scores(net: Network, batch: Tensor) -> Tensor:
    return torch.as_tensor(net(batch))


@pytest.mark.parametrize(
    ("size", "stride", "fill", "baseline", "theirs", "at_once"),
    [
        (8, 8, 0.0, None, 0, 1),
        ((16, 4), (8, 2), -1.5, None, -1.5, 5),
        ((8, 4), (6, 4), (0.5, -1.0, 2.0), None, torch.tensor([0.5, -1.0, 2.0]).reshape(1, 3, 1, 1), 16),
        ((2, 32), (2, 1), "mean", OTHER, OTHER[None], 3),
    ],
)
def test_the_average_over_windows_is_captums_attribution_of_a_class_score(
    net: Network, size: Any, stride: Any, fill: Any, baseline: Any, theirs: Any, at_once: int
) -> None:
    config = OcclusionConfig(size=size, stride=stride, fill=fill, channel=2, batch_size=7)
    found = run(net, IMAGES[0], net.output, config, baseline=baseline)
    (high, wide), (down, right) = (
        found.config.window,
        stride if isinstance(stride, tuple) else (stride, stride),
    )
    theirs = theirs.expand(1, 3, HEIGHT, WIDTH) if isinstance(theirs, Tensor) else theirs
    expected = captum.attr.Occlusion(lambda batch: scores(net, batch)).attribute(
        IMAGES[:1], (3, high, wide), (3, down, right), theirs, target=2, perturbations_per_eval=at_once
    )
    own = found.by_pixel(found.watched.unit_value - found.unit_values)
    assert found.watched.unit_value == pytest.approx(float(scores(net, IMAGES[:1])[0, 2]), abs=1e-6)
    for channel in expected[0].numpy():
        np.testing.assert_allclose(own, channel, atol=2e-6)
    assert np.abs(own).max() > 1e-3


def test_a_unit_of_a_map_is_captums_too(net: Network) -> None:
    features = net.features(["relu2"])
    config = OcclusionConfig(size=(8, 4), stride=4, fill=0.0, channel=3, row=2, col=1)
    found = run(net, IMAGES[0], "relu2", config)
    expected = captum.attr.Occlusion(lambda batch: features(batch)[0][:, 3, 2, 1]).attribute(
        IMAGES[:1], (3, 8, 4), (3, 4, 4), 0
    )
    own = found.by_pixel(found.watched.unit_value - found.unit_values)
    np.testing.assert_allclose(own, expected[0, 0].numpy(), atol=2e-6)


def test_the_last_windows_are_whole_and_flush_where_captum_cuts_them_off(net: Network) -> None:
    """*Convention*: with a stride that does not divide the distance, windows cover every pixel and all are whole."""
    found = run(net, IMAGES[0], net.output, OcclusionConfig(size=10, stride=9, fill=0.0, channel=1))
    assert found.rows.tolist() == found.cols.tolist() == [0, 9, 18, 22]
    cut = captum.attr.Occlusion(lambda batch: scores(net, batch)).attribute(
        IMAGES[:1], (3, 10, 10), (3, 9, 9), 0, target=1
    )
    own = found.by_pixel(found.watched.unit_value - found.unit_values)
    np.testing.assert_allclose(own[:9, :9], cut[0, 0, :9, :9].numpy(), atol=2e-6)
    assert np.abs(own - cut[0, 0].numpy())[22:].max() > 1e-4


@pytest.mark.parametrize(("mask", "overlap"), [((8, 8), 0.25), ((12, 5), 0.6), ((32, 4), 0.0)])
def test_the_average_probability_is_monais_sensitivity(
    net: Network, mask: tuple[int, int], overlap: float
) -> None:
    """MONAI's constant mode, written out: windows every int(side * (1 - overlap)), the last flush with the edge."""
    steps = tuple(max(int(side * (1 - overlap)), 1) for side in mask)
    total, count = torch.zeros(5, HEIGHT, WIDTH), torch.zeros(HEIGHT, WIDTH)
    for i in range(-(-(HEIGHT - mask[0]) // steps[0]) + 1):
        for j in range(-(-(WIDTH - mask[1]) // steps[1]) + 1):
            top, left = min(i * steps[0], HEIGHT - mask[0]), min(j * steps[1], WIDTH - mask[1])
            copy = IMAGES[:1].clone()
            copy[:, :, top : top + mask[0], left : left + mask[1]] = 0.25
            window = (slice(top, top + mask[0]), slice(left, left + mask[1]))
            total[:, *window] += scores(net, copy).softmax(1)[0][:, None, None]
            count[window] += 1
    for index in (0, 3):
        config = OcclusionConfig(size=mask, stride=(steps[0], steps[1]), fill=0.25, class_index=index)
        found = run(net, IMAGES[0], "relu2", config)
        np.testing.assert_allclose(found.by_pixel(found.probabilities), (total / count)[index], atol=1e-6)


def test_pixels_that_no_window_covers_have_no_average(net: Network) -> None:
    found = run(net, IMAGES[0], "relu2", OcclusionConfig(size=4, stride=14))
    covered = ~np.isnan(found.by_pixel(found.map_sums))
    assert covered[:4, :4].all()
    assert covered.sum() == 9 * 16


def test_heat_maps_are_drawn_by_pixel_where_that_is_asked_for(net: Network) -> None:
    for stride in (5, 14):
        found = run(net, IMAGES[0], "relu2", OcclusionConfig(size=8, stride=stride, channel=2, row=1, col=3))
        figure = found.plot(by_pixel=True)
        expected = (found.map_sums, found.unit_values, found.probabilities)
        heats = [axes.collections[0] for axes in figure.axes if axes.get_title("left")[:1] in ("b", "d")]
        assert len(heats) == 3
        for heat, values in zip(heats, expected, strict=True):
            np.testing.assert_array_equal(np.ma.filled(heat.get_array(), np.nan), found.by_pixel(values))
            assert heat.get_coordinates()[0, [0, -1], 0].tolist() == [-0.5, WIDTH - 0.5]
        assert (
            "Each pixel of a heat map is the mean over the squares that cover it (by"
            in figure.get_supxlabel()
        )


# --- fully connected units ------------------------------------------------------------------------------------------


def test_class_scores_are_watched_with_their_sign(net: Network, tmp_path: Path) -> None:
    found = run(net, IMAGES[1], net.output, OcclusionConfig(size=16, stride=8))
    own = scores(net, IMAGES[1:2])[0]
    assert found.watched.unit == backlight.Unit("fc", int(own.argmax()))
    lowest = int(own.argmin())
    low = run(net, IMAGES[1], "fc", OcclusionConfig(size=16, stride=8, channel=lowest))
    assert low.watched.map_sum == low.watched.unit_value == pytest.approx(float(own[lowest]), abs=1e-6)
    np.testing.assert_array_equal(low.map_sums, low.unit_values)
    assert low.watched.unit_value < 0
    assert low.in_field().all()
    titles = [axes.get_title("left") for axes in low.plot().axes]
    assert f"b  what is left of unit {lowest}" in titles
    assert low.plot().get_suptitle().startswith(f"SmallNet · fc, unit {lowest}: a square of 16×16 pixels")
    assert "projection of the unit above what it sees; grey is zero" in " ".join(
        low.plot().get_supxlabel().split()
    )
    beside = run(net, IMAGES[1], "fc", OcclusionConfig(size=16), others=IMAGES[:2])
    assert beside.other_boxes.tolist() == [[0, 0, 32, 32]] * 2
    beside.save(tmp_path / "r")
    back = Occlusion.load(tmp_path / "r")
    assert (back.watched, back.summary()) == (beside.watched, beside.summary())


# --- windows and fills ----------------------------------------------------------------------------------------------


def test_a_window_is_rows_by_columns(net: Network, tmp_path: Path) -> None:
    config = OcclusionConfig(size=(6, 20), stride=(13, 3), fill=(1.0, 0.0, -1.0), channel=4)
    found = run(net, IMAGES[0], "relu2", config)
    assert (found.rows.tolist(), found.cols.tolist()) == ([0, 13, 26], [0, 3, 6, 9, 12])
    features = net.features(["relu2"])
    for i, row in enumerate(found.rows):
        for j, col in enumerate(found.cols):
            copy = IMAGES[:1].clone()
            copy[0, :, row : row + 6, col : col + 20] = torch.tensor([1.0, 0.0, -1.0])[:, None, None]
            maps = features(copy)[0][0, 4]
            assert found.map_sums[i, j] == pytest.approx(float(maps.clamp(min=0).sum()), rel=1e-4)
    square = found.square(found.map_sums)
    assert (square.height, square.width) == (6, 20)
    magnitude = np.abs(found.projection).sum(2)
    assert found.shown()[1, 2] == pytest.approx(magnitude[13:19, 6:26].sum())
    figure = found.plot()
    assert "a window of 6×20 pixels slid in steps of 13×3" in " ".join(figure.get_suptitle().split())
    assert "(by the value 1, 0, -1)" in " ".join(figure.get_supxlabel().split())
    found.save(tmp_path / "r")
    assert Occlusion.load(tmp_path / "r").config == config


def test_a_colour_covers_as_the_picture_of_that_colour_would(net: Network) -> None:
    picture = Image.effect_noise((WIDTH, HEIGHT), 90).convert("RGB")
    flat = Image.new("RGB", (WIDTH, HEIGHT), "#20c0ff")
    config = OcclusionConfig(size=8, stride=8, fill="#20c0ff")
    found, other = (
        run(net, picture, "relu2", config),
        run(net, picture, "relu2", replace(config, fill="mean"), baseline=flat),
    )
    np.testing.assert_allclose(found.map_sums, other.map_sums, atol=1e-5)
    for own, words in ((found, "the colour #20c0ff"), (other, "another image")):
        assert (own.cover == (0x20, 0xC0, 0xFF)).all()
        box = own.square(own.map_sums)
        shown = np.asarray(own.plot().axes[0].images[0].get_array())
        assert (shown[box.slices()] == (0x20, 0xC0, 0xFF)).all()
        assert f"(by {words})" in " ".join(own.plot().get_supxlabel().split())
    tensor = run(net, IMAGES[0], "relu2", replace(config, fill=0.0))
    low, high = float(IMAGES[0].min()), float(IMAGES[0].max())
    assert (tensor.cover == round(255 * (0 - low) / (high - low))).all()


def test_an_earlier_result_has_no_cover_and_is_drawn(net: Network) -> None:
    found = run(net, IMAGES[0], "relu2", OcclusionConfig(size=8, stride=8))
    assert found.cover.size == 0
    kept = {name: value for name, value in vars(found).items() if name != "cover"}
    assert Occlusion(**kept).plot().axes


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (
            "pinkish",
            "a fill is mean, blur, noise, a number, or a colour such as 'black' or '#808080', got 'pinkish'",
        ),
        (float("nan"), "a constant fill is a finite number, or one for each channel, got nan"),
        ((), r"a constant fill is a finite number, or one for each channel, got \(\)"),
    ],
)
def test_what_is_no_fill_is_refused(fill: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=f"^{message}$"):
        OcclusionConfig(fill=fill)


def test_a_fill_that_does_not_fit_the_network_is_refused(net: Network) -> None:
    with pytest.raises(BadInputError, match=r"one number or one for each of the 3 channels, got 2$"):
        run(net, IMAGES[0], "relu2", OcclusionConfig(size=8, fill=(1.0, 2.0)))
    with pytest.raises(BadInputError, match=r"^a baseline is one image, got 2; give one$"):
        run(net, IMAGES[0], "relu2", OcclusionConfig(size=8), baseline=IMAGES[:2])
    with pytest.raises(
        BadInputError, match=r"the colour 'red' needs a network that knows how pictures become inputs"
    ):
        run(captured_small_net(), IMAGES[0], "relu2", OcclusionConfig(size=8, fill="red"))
    with pytest.raises(
        BadInputError, match=r"the window must be at most 32x32 pixels.*, got 8x33; choose a smaller"
    ):
        run(net, IMAGES[0], "relu2", OcclusionConfig(size=(8, 33)))


# --- several images -------------------------------------------------------------------------------------------------


def test_several_images_are_each_as_alone(net: Network) -> None:
    config = OcclusionConfig(size=(8, 16), stride=8, fill="noise", seed=3)
    seen: list[tuple[str, int, int]] = []
    found = run_all(net, IMAGES, "relu2", config, progress=lambda *what: seen.append(what))
    assert len(found) == 3
    for own, image in zip(found, IMAGES, strict=True):
        alone = run(net, image, "relu2", config)
        assert own.watched == alone.watched
        for name, value in vars(alone).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(own, name), value)
    assert len({own.watched.unit for own in found}) > 1
    assert seen[-1] == ("occlusion", 36, 36)
    assert repr(found[0]).startswith("Occlusion(SmallNet, relu2 channel ")
    with pytest.raises(BadInputError, match=r"^the square slides over at least one image, got none$"):
        run_all(net, IMAGES[:0], "relu2", config)
