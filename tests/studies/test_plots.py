"""Figures of odd inputs: captions stay inside, titles do not run into each other, small changes look small."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image
from torch import nn

import backlight
from backlight.render.plots import Plot, new_plot, shortened, shortened_end, width_of, wrapped
from backlight.studies import invariance, occlusion

LONG = "a_module_of_a_very_long_$name$_that_goes_on_and_on_until_nobody_reads_it_any_more"
NAMES = tuple(f"{i}, a class with a long $name$ and \\frac more of it" for i in range(4))


class OfLongNames(nn.Module):
    """A convolution and a rectifier with a long name; a classifier if asked."""

    def __init__(self, classifies: bool, scale: float = 1.0) -> None:
        super().__init__()
        self.conv, self.fc, self.classifies = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), classifies
        self.add_module(LONG, nn.ReLU())
        with torch.no_grad():
            self.conv.weight *= scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self._modules[LONG](self.conv(x))
        return self.fc(maps.mean((2, 3))) if self.classifies else maps


def _net(classifies: bool, size: tuple[int, int], scale: float = 1.0) -> backlight.Network:
    torch.manual_seed(0)
    preprocessing = backlight.Preprocessing(None, size, (0.5,) * 3, (0.5,) * 3)
    return backlight.capture(OfLongNames(classifies, scale), (3, *size), preprocessing)


def _picture(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8))


def _texts(figure: Plot) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Draw a figure; return its texts but the numbers of axes, with left, bottom, right and top in pixels."""
    canvas = FigureCanvasAgg(figure)
    figure.draw(canvas.get_renderer())
    numbers = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True))
        if label.get_text().replace(".", "").replace("−", "").isdigit()  # those out of view are not drawn
    }
    found = [own for own in figure.findobj(Text) if own.get_text().strip() and id(own) not in numbers]
    return [(own.get_text(), own.get_window_extent(canvas.get_renderer()).extents) for own in found]


@pytest.mark.parametrize("size", [(64, 16), (16, 64), (24, 24)])
@pytest.mark.parametrize("classifies", [True, False])
def test_captions_of_an_occlusion_stay_inside_and_apart(size: tuple[int, int], classifies: bool) -> None:
    config = occlusion.OcclusionConfig(size=8, stride=8, class_names=NAMES if classifies else ())
    result = occlusion.run(_net(classifies, size), _picture(size), LONG, config)
    figure = result.plot()
    texts = _texts(figure)
    width, height = figure.bbox.size
    outside = [text for text, own in texts if min(own[:2]) < 0 or own[2] > width or own[3] > height]
    assert not outside
    titles = [own for text, own in texts if text in {axes.get_title("left") for axes in figure.axes}]
    assert len(titles) == (5 if classifies else 3)
    assert all(before[2] < after[0] for before, after in pairwise(titles))
    assert "$name$" in figure.get_suptitle()


def test_captions_of_an_invariance_stay_inside() -> None:
    size = (32, 16)
    config = invariance.InvarianceConfig(translation=(1,), scale=(1.0,), rotation=(0.0,), class_names=NAMES)
    result = invariance.run(_net(True, size), [_picture(size)], [LONG], config=config)
    object.__setattr__(result, "images", ("a file $name$ " * 12,))
    figure = result.plot()
    width, height = figure.bbox.size
    outside = [t for t, own in _texts(figure) if min(own[:2]) < 0 or own[2] > width or own[3] > height]
    assert not outside


def test_a_change_of_nothing_does_not_fill_the_colour_range() -> None:
    size = (24, 24)
    result = occlusion.run(
        _net(True, size, 1e-6), _picture(size), LONG, occlusion.OcclusionConfig(size=8, stride=8)
    )
    heat = result.plot().axes[1].collections[0]
    low, high = heat.get_clim()
    assert np.ptp(result.map_sums) < 0.001 * result.watched.map_sum
    assert high - low == pytest.approx(0.01 * result.watched.map_sum)
    assert low < result.map_sums.min() <= result.map_sums.max() < high
    bars = [axes.yaxis for axes in result.plot().axes if axes.get_ylabel()]
    assert all(not axis.get_major_formatter().get_useOffset() for axis in bars)


def test_a_distance_of_nothing_does_not_fill_the_axis() -> None:
    result = invariance.run(
        _net(True, (16, 16)),
        [_picture((16, 16))],
        [LONG],
        config=invariance.InvarianceConfig(translation=(0,), scale=(1.0,), rotation=(0.0,)),
    )
    assert not result.raw_distances.any()
    assert result.plot().axes[1].get_ylim()[1] >= 0.01


def test_a_network_in_double_precision_is_studied_in_it() -> None:
    torch.manual_seed(0)
    model = OfLongNames(True).double()
    net = backlight.capture(model, torch.zeros(1, 3, 16, 16, dtype=torch.float64))
    image = torch.rand(3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        maps = model._modules[LONG](model.conv(image[None]))[0]
        logits = model(image[None])[0]
    watched = occlusion.run(net, image, LONG, occlusion.OcclusionConfig(size=8, stride=8)).watched
    channel = watched.unit.channel
    assert watched.unit_value == pytest.approx(maps[channel].max().item(), rel=1e-14)
    assert watched.map_sum == pytest.approx(maps[channel].sum().item(), rel=1e-14)
    assert watched.probability == pytest.approx(logits.softmax(0).max().item(), rel=1e-14)
    moved = invariance.run(
        net,
        image[None],
        [LONG],
        config=invariance.InvarianceConfig(translation=(1,), scale=(1.0,), rotation=(0.0,)),
    )
    assert moved.lengths[0, 0, 0] == pytest.approx(maps.norm().item(), rel=1e-14)


def test_texts_are_broken_and_names_shortened_to_a_width() -> None:
    text = wrapped(f"some words and {LONG}\nmore", 2.0, 10.0)
    assert all(width_of(line, 10.0) <= 2.0 for line in text.split("\n"))
    assert text.replace("\n", "").replace(" ", "") == f"somewordsand{LONG}more"
    assert shortened(LONG, 2.0, 9.0).startswith("…")
    assert LONG.endswith(shortened(LONG, 2.0, 9.0)[1:])
    assert LONG.startswith(shortened_end(LONG, 2.0, 9.0)[:-1])
    assert max(width_of(cut(LONG, 2.0, 9.0), 9.0) for cut in (shortened, shortened_end)) <= 2.0
    assert shortened("relu", 2.0, 9.0) == shortened_end("relu", 2.0, 9.0) == "relu"
    figure, _ = new_plot(1, 1, (2.0, 2.0), "a title " * 10, "a note")
    assert figure.get_figheight() > 2.3


def test_dollars_are_text_and_numbers_of_logarithmic_axes_stay_formulas() -> None:
    figure, ((axes,),) = new_plot(1, 1, (3.0, 2.0), "costs $\\frac")
    axes.plot([1, 2], [1e-3, 1e3])
    axes.set_yscale("log")
    axes.set_title("$\\nosuch$")
    texts = [text for text, _ in _texts(figure)]
    assert "costs $\\frac" in texts
    ticks = [own for own in axes.yaxis.get_majorticklabels() if own.get_text()]
    assert all(own.get_parse_math() for own in ticks)
