"""Figures of odd inputs: captions stay inside and apart, small changes look small, nothing that is drawn is cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.text import Text
from PIL import Image
from torch import nn

import backlight
from backlight.render.plots import (
    TITLE_POINTS,
    Plot,
    line_height,
    new_plot,
    shortened,
    shortened_end,
    width_of,
    wrapped,
)
from backlight.studies import (
    correspondence,
    faithfulness,
    foretelling,
    homogeneity,
    invariance,
    occlusion,
    sanity,
)
from backlight.studies.faithfulness.scores import CONTROLS
from backlight.studies.foretelling.result import CENTRE
from backlight.studies.homogeneity.likeness import ASPECTS
from backlight.studies.results import Result
from backlight.studies.sanity import SWITCHES
from backlight.studies.sanity.similarity import METRICS

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
    assert (low + high) / 2 == pytest.approx(result.watched.map_sum)
    bars = [axes.yaxis for axes in result.plot().axes if axes.get_ylabel()]
    assert all(not axis.get_major_formatter().get_useOffset() for axis in bars)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e7])
def test_the_numbers_of_a_colour_bar_are_different_and_fit(scale: float) -> None:
    config = occlusion.OcclusionConfig(size=8, stride=3, channel=1, row=4, col=4)
    figure = occlusion.run(_net(True, (24, 24), scale), _picture((24, 24)), LONG, config).plot()
    canvas = FigureCanvasAgg(figure)
    figure.draw(canvas.get_renderer())
    panels = figure.axes
    for panel, following in pairwise(panels[:-1]):
        for bar in panel.child_axes:
            low, high = sorted(bar.get_ylim())
            ticks = zip(bar.get_yticks(), bar.get_yticklabels(), strict=True)
            numbers = [label.get_text() for at, label in ticks if low <= at <= high]
            assert len(set(numbers)) == len(numbers) > 1
            assert not bar.yaxis.get_offset_text().get_text()
            label = bar.yaxis.label.get_window_extent(canvas.get_renderer())
            assert label.x1 < following.get_window_extent(canvas.get_renderer()).x0


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


# --- results beyond what is usual -------------------------------------------------------------------------------


def _beyond(*shape: int) -> np.ndarray:
    """Return numbers of which many lie outside of 0 to 1."""
    return np.random.default_rng(3).normal(0.5, 2.0, shape)


def _faithfulness(layers: tuple[str, ...] = ("a", "b")) -> Result:
    n, methods = 4 * len(layers), ("deconvnet", "guided", *CONTROLS)
    config = faithfulness.FaithfulnessConfig(shares=(0.1, 0.2), fills=("mean",))
    hits = np.repeat(np.arange(len(layers)), 4), np.tile(np.arange(4), len(layers)), np.zeros(n, np.int64)
    rules = ("deconvnet",) * len(layers)
    falls = _beyond(n, len(methods), 2, 1)
    return faithfulness.Faithfulness(
        config, methods, layers, rules, *hits, np.ones(n), falls, _beyond(n, 2, 2, 1)
    )


def _foretelling(layers: tuple[str, ...] = ("a", "b")) -> Result:
    n, methods = 4 * len(layers), ("deconvnet", "guided", CENTRE)
    hits = np.repeat(np.arange(len(layers)), 4), np.tile(np.arange(4), len(layers)), np.zeros(n, np.int64)
    values = _beyond(n, 3), _beyond(n, 3)
    rules, squares = ("deconvnet",) * len(layers), np.full(n, 9)
    return foretelling.Foretelling(
        foretelling.ForetellingConfig(), methods, layers, rules, *hits, squares, *values
    )


def _sanity(weights: tuple[str, ...] = ("conv1", "conv2"), n_hits: int = 3) -> Result:
    shape = 2, len(weights), n_hits, len(METRICS)
    switches = _beyond(2, len(SWITCHES), n_hits, len(METRICS))
    rules = "deconvnet", "guided"
    return sanity.Sanity(
        sanity.SanityConfig(), "relu", rules, weights, _beyond(*shape), -_beyond(*shape), switches
    )


def _homogeneity(layers: tuple[str, ...] = ("a", "b")) -> Result:
    n = 4 * len(layers)
    at = np.repeat(np.arange(len(layers)), 4), np.tile(np.arange(4), len(layers)), np.full(n, 9)
    of_maps = [_beyond(len(ASPECTS), n) for _ in range(3)]
    shares = [np.full((len(ASPECTS), n), 0.5) for _ in range(2)]
    nulls = _beyond(len(ASPECTS), len(layers), 9)
    examples = np.zeros((2, 2, 3, 8, 8, 3), np.uint8), np.array([0, 1])
    return homogeneity.Homogeneity(
        homogeneity.HomogeneityConfig(),
        *("network", "images", "deconvnet"),
        layers,
        *at,
        np.full(n, 0.5),
        *of_maps,
        *shares,
        nulls,
        *examples,
    )


def _correspondence(parts: tuple[str, ...] = ("eye", "nose")) -> Result:
    config, images, pairs = correspondence.CorrespondenceConfig(), ("i", "j", "k"), np.array([[0, 1], [0, 2]])
    shape = 2, 2, 1, len(parts)  # controls, entries, layers, parts
    controls = _beyond(*shape, 5), np.abs(_beyond(*shape, 5))
    boxes = np.tile(np.array([2, 2, 6, 6]), (len(parts), 3, 1))
    pictures = np.zeros((3, 16, 16, 3), np.uint8)
    values = _beyond(*shape[1:], 2), *controls
    return correspondence.Correspondence(
        config, "network", ("fc",), parts, images, pairs, *values, boxes, pictures
    )


def _invariance() -> Result:
    config = invariance.InvarianceConfig(translation=(-2, 0, 3), scale=(1.0, 1.5), rotation=(0.0, 45.0, 90.0))
    found = invariance.run(_net(True, (16, 16)), [_picture((16, 16))] * 2, [LONG], config)
    wild = np.abs(_beyond(*found.raw_distances.shape)) * 9
    return replace(found, raw_distances=wild, probabilities=_beyond(*found.probabilities.shape))


def _occlusion() -> Result:
    config = occlusion.OcclusionConfig(size=4, stride=11, channel=1, row=5, col=5)
    found = occlusion.run(_net(True, (24, 24)), _picture((24, 24)), LONG, config)
    return replace(found, map_sums=_beyond(*found.map_sums.shape))


def _drawn(axes: Axes) -> tuple[list[float], list[float]]:
    """Return the columns and rows, in data of the axes, of what is drawn there; NaN is not."""
    found: list[tuple[object, np.ndarray]] = [(own, own.get_xydata()) for own in axes.lines]
    for own in axes.collections:
        if isinstance(own, QuadMesh):
            found.append((own, own.get_coordinates().reshape(-1, 2)))
        else:
            found += [(own, path.vertices) for path in own.get_paths()]
    found += [(own, own.get_patch_transform().transform(own.get_path().vertices)) for own in axes.patches]
    by_axis: tuple[list[float], list[float]] = [], []
    for own, points in found:
        # a line across the axes is placed by data along one axis only
        in_data = own.get_transform().contains_branch_seperately(axes.transData)
        for i in (0, 1):
            if in_data[i]:
                by_axis[i].extend(points[np.isfinite(points[:, i]), i].tolist())
    return by_axis


@pytest.mark.parametrize(
    "make",
    [_faithfulness, _foretelling, _sanity, _homogeneity, _correspondence, _invariance, _occlusion],
    ids=lambda make: make.__name__,
)
def test_no_limit_of_an_axis_cuts_what_is_drawn(make: Callable[[], Result]) -> None:
    figure = make().plot()
    figure.draw(FigureCanvasAgg(figure).get_renderer())
    n_compared = 0  # so that a figure of which nothing is found does not pass
    for axes in figure.axes:
        for drawn, limits in zip(_drawn(axes), (axes.get_xlim(), axes.get_ylim()), strict=True):
            if drawn and axes.axison:
                n_compared += 1
                assert min(limits) <= min(drawn), axes.get_title("left")
                assert max(drawn) <= max(limits), axes.get_title("left")
    assert n_compared >= 4


# --- names of layers and captions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "ticks"),
    [
        (("conv1", "conv2"), ["conv1", "conv2"]),
        (("a.0.conv", "b.conv"), ["a.0", "b"]),
        (tuple(f"{i}.{LONG}{i}" for i in range(40)), None),
    ],
)
def test_layers_are_the_ticks_of_the_sanity_checks(weights: tuple[str, ...], ticks: list[str] | None) -> None:
    figure = _sanity(weights).plot()
    shown = [label.get_text() for label in figure.axes[4].get_xticklabels()]
    assert len(shown) == len(weights)
    if ticks is not None:
        assert shown == ticks
    assert shown[-1]
    named = [text for text in shown if text]
    assert len(set(named)) == len(named) <= 16
    width, height = figure.bbox.size
    outside = [t for t, own in _texts(figure) if min(own[:2]) < 0 or own[2] > width or own[3] > height]
    assert not outside


def test_the_sanity_checks_show_the_intervals_of_the_means() -> None:
    result = replace(_sanity(), top_down=np.tile(np.array([0.1, 0.2, 0.6])[:, None], (2, 2, 1, len(METRICS))))
    axes = result.plot().axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    reach = (
        4.302652729749464 * np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3)
    )  # Student's t of two degrees of freedom
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((0.3 - reach, 0.3 + reach))
    alone = replace(_sanity(("conv1",))).plot().axes[0]
    assert len(alone.collections) == 2, "of one layer a line for each rule set"


@pytest.mark.parametrize(
    "make",
    [
        _foretelling,
        _sanity,
        _homogeneity,
        lambda: replace(_homogeneity(), map_scores=np.r_[_beyond(2, 8), np.full((2, 8), np.nan)]),
        _correspondence,
        lambda: replace(_correspondence(), network=LONG),
    ],
)
def test_titles_and_legends_stay_inside_and_apart(make: Callable[[], Result]) -> None:
    figure = make().plot()
    canvas = FigureCanvasAgg(figure)
    figure.draw(canvas.get_renderer())
    width, height = figure.bbox.size
    outside = [t for t, own in _texts(figure) if min(own[:2]) < 0 or own[2] > width or own[3] > height]
    assert not outside
    (legend,) = figure.legends
    left = legend.get_window_extent(canvas.get_renderer()).x0
    bottom = min(own.get_window_extent(canvas.get_renderer()).y0 for own in legend.get_texts())
    lines = figure.get_suptitle().split("\n")
    (title,) = [own for text, own in _texts(figure) if text == figure.get_suptitle()]
    for i, line in enumerate(lines):
        top = title[3] - i * line_height(TITLE_POINTS) * figure.dpi
        assert title[0] + width_of(line, TITLE_POINTS) * figure.dpi < left or top < bottom, line
