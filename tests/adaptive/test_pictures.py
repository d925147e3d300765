"""Pictures of adaptive networks: what each panel shows, in which order, on which scale; and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from backlight.adaptive import (
    SWITCH_MODES,
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    Branch,
    Codes,
    HitSearch,
    LayerConfig,
    active_layers,
    decomposition_picture,
    filter_picture,
    find_hits,
    layer_picture,
    pictures,
    reconstruction_picture,
    switch_picture,
    tree_picture,
    trees,
)
from backlight.adaptive.decomposition import strongest_activations, tree
from backlight.adaptive.sheets import GAP, Panel, Row, sheet
from backlight.errors import BadInputError
from backlight.render import MapPanel
from backlight.render.page import Frame

THREE = AdaptiveConfig(
    tuple(LayerConfig(maps, filter=3, block=Block(2, 2, 1), weight=20.0) for maps in (4, 5, 3)), size=(24, 24)
)
SILENT = AdaptiveConfig(
    (LayerConfig(4, filter=3, block=Block(2, 2, 1), weight=20.0), LayerConfig(3, filter=3, weight=1e-9)),
    size=(24, 24),
)


def coded(config: AdaptiveConfig = THREE, count: int = 2) -> tuple[AdaptiveDeconvNet, Tensor, Codes]:
    net = AdaptiveDeconvNet(config, seed=2)
    images = torch.randn(count, 1, *config.size, generator=torch.Generator().manual_seed(0))
    return net, images, net.infer(images)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """What is passed on to be drawn."""
    found: list[Row] = []

    def record(rows: Sequence[Row], *texts: str) -> Image.Image:
        found.extend(rows)
        return sheet(rows, *texts)

    monkeypatch.setattr(pictures, "sheet", record)
    return found


def test_the_filters_and_the_maps_of_a_layer() -> None:
    net, images, _ = coded()
    assert filter_picture(net).mode == "RGB"
    found = find_hits(net, images.numpy(), HitSearch(top=4))
    assert layer_picture(found, 2).size == layer_picture(found, 2, "a title").size
    with pytest.raises(BadInputError, match="layers 1, 2, 3 were searched, but layer 4 was asked for"):
        layer_picture(found, 4)


def test_maps_are_captioned_by_their_magnitudes(monkeypatch: pytest.MonkeyPatch) -> None:
    net, images, _ = coded()
    found = find_hits(net, np.concatenate([images.numpy(), images.numpy() * 0]), HitSearch((1,), (2,), top=4))
    shown: list[MapPanel] = []

    def record(panels: Sequence[MapPanel], *texts: str) -> Image.Image:
        shown.extend(panels)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(pictures, "layer_figure", record)
    layer_picture(found, 1)
    (panel,) = shown
    first, second = (abs(hit.value) for hit in found.maps[0].hits)
    assert (panel.label, panel.caption) == ("map 2", f"magnitude {first:.3g} to {second:.3g}")
    assert panel.note.endswith("2 of 4 hits")


def test_a_row_of_reconstructions_is_the_input_and_each_layer_with_its_error(rows: list[Row]) -> None:
    net, images, codes = coded()
    picture = reconstruction_picture(net, images, codes, ["one.png", "two.png"])
    assert picture.width < 1200
    assert [row.heading for row in rows] == ["one.png", "two.png"]
    for i, row in enumerate(rows):
        assert [panel.label for panel in row.panels] == ["input", "layer 1", "layer 2", "layer 3"]
        np.testing.assert_array_equal(row.panels[0].values[..., 0], images[i, 0])
        for layer, panel in enumerate(row.panels[1:], start=1):
            painted = net.reconstruct(codes, layer)[i, 0]
            np.testing.assert_array_equal(panel.values[..., 0], painted)
            error = (painted - images[i, 0]).square().sum().sqrt() / images[i, 0].square().sum().sqrt()
            assert panel.caption == f"error {error:.1%}"


def test_an_input_of_zeros_has_no_relative_error(rows: list[Row]) -> None:
    net, images, _ = coded()
    reconstruction_picture(net, images * 0, net.infer(images * 0), ["a", "b"], [2])
    assert [panel.caption for panel in rows[0].panels] == ["", "input is zero"]


def test_a_decomposition_adds_up_on_one_scale(rows: list[Row]) -> None:
    net, images, codes = coded()
    one = codes.of(1)
    decomposition_picture(net, images[1], one, 3)
    assert [row.heading for row in rows] == ["Layer 1", "Layer 2", "Layer 3"]
    for layer, row in enumerate(rows, start=1):
        given, *parts, added, whole = row.panels
        assert (given.label, added.label) == ("input", "sum of 3")
        assert whole.label == f"all {int(one[layer].pooled.count_nonzero())}"
        assert whole.caption.startswith("error ")
        activations = strongest_activations(one[layer].maps[0], layer, 3)
        assert [panel.label for panel in parts] == [f"map {own.channel}" for own in activations]
        assert parts[0].caption == f"{activations[0].value:.3g} at {activations[0].row}, {activations[0].col}"
        np.testing.assert_allclose(sum(panel.values for panel in parts), added.values, atol=1e-6)
        assert len({id(panel.reference) for panel in (*parts, added)}) == 1
        assert given.reference is None
        assert whole.reference is None


def test_every_use_of_switches_is_on_the_scale_of_the_full_one(rows: list[Row]) -> None:
    net, images, codes = coded()
    one = codes.of(0)
    switch_picture(net, images[0], one, [2])
    (row,) = rows
    assert [panel.label for panel in row.panels] == ["input", *SWITCH_MODES]
    for panel, mode in zip(row.panels[1:], SWITCH_MODES, strict=True):
        np.testing.assert_array_equal(panel.values[..., 0], net.reconstruct(one, 2, mode)[0, 0])
        assert panel.reference is not None
        np.testing.assert_array_equal(panel.reference, row.panels[1].values)


def test_silent_layers_are_left_out_unless_asked_for(rows: list[Row]) -> None:
    net, images, codes = coded(SILENT)
    assert active_layers(codes) == [1]
    decomposition_picture(net, images[0], codes.of(0))
    switch_picture(net, images[0], codes.of(0))
    assert [row.heading for row in rows] == ["Layer 1", "Layer 1"]
    with pytest.raises(BadInputError, match="the code of layer 2 is all zero"):
        decomposition_picture(net, images[0], codes.of(0), layers=[2])
    silence = net.infer(images[:1] * 0)
    for draw in (decomposition_picture, switch_picture):
        with pytest.raises(BadInputError, match="no layer has an activation"):
            draw(net, images[0] * 0, silence)


def test_a_tree_has_a_column_for_each_part_and_a_row_for_each_layer() -> None:
    net, images, codes = coded()
    one = codes.of(0)
    sizes = {n: tree_picture(net, images[0], one, n) for n in (4, 5)}
    assert sizes[5].width - sizes[4].width == 180 + GAP
    assert sizes[5].width < 1250
    lower = tree_picture(net, images[0], one, 5, layer=2)
    assert lower.width == sizes[5].width
    assert lower.height < sizes[5].height - 180


def test_a_tree_shows_the_superposition_of_each_level(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Panel] = []
    plain = trees.framed

    def record(panel: Panel, size: int) -> Image.Image:
        shown.append(panel)
        return plain(panel, size)

    monkeypatch.setattr(trees, "framed", record)
    net, images, codes = coded()
    one = codes.of(0)
    tree_picture(net, images[0], one, 5)
    root = tree(net.filters, one, strongest_activations(one[3].maps[0], 3, 1)[0], 5)
    levels = [root.level(depth) for depth in range(3)]
    assert [len(level) for level in levels] == [1, 5, 25]
    assert [panel.label for panel in shown] == [
        "layer 3",
        "input",
        "layer 3",
        "layer 1",
        "layer 2",
        "layer 1",
    ]
    assert [panel.caption for panel in shown[4:]] == ["5 activations", "25 activations"]
    for level, panel in zip(levels, (shown[0], *shown[4:]), strict=True):
        np.testing.assert_allclose(panel.values, added(level), atol=1e-6)


@pytest.mark.parametrize(("corner", "hatched"), [(0, True), (9, False)])
def test_a_tree_speaks_of_hatching_where_there_is_any(
    corner: int, hatched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    legends: list[str] = []
    plain = trees.page

    def record(blocks: Sequence[Image.Image], frame: Frame) -> Image.Image:
        legends.append(frame.legend)
        return plain(blocks, frame)

    monkeypatch.setattr(trees, "page", record)
    net, images, _ = coded(count=1)
    spot = torch.zeros_like(images)
    own = slice(corner, corner + 5)
    spot[..., own, own] = images[..., own, own]
    tree_picture(net, spot[0], net.infer(spot), layer=2)
    assert ("Hatched: outside of the image" in legends[0]) == hatched


def added(level: Sequence[Branch]) -> np.ndarray:
    return np.sum([branch.projection.numpy() for branch in level], axis=0).transpose(1, 2, 0)


def test_what_has_no_tree_is_refused() -> None:
    net, images, codes = coded(SILENT)
    for arguments in ((codes, 5), (codes.of(0), 0), (codes.of(0), 5, 1)):
        with pytest.raises(
            BadInputError, match="a tree takes one image, a layer from 2 up and at least 1 part"
        ):
            tree_picture(net, images[0], *arguments)  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="layer 2 has no activation, so there is no tree"):
        tree_picture(net, images[0], codes.of(0))


def test_panels_stand_in_rows_at_one_size_and_zero_is_grey() -> None:
    zero, ramp = np.zeros((40, 40, 1)), np.linspace(-1, 1, 1600).reshape(40, 40, 1)
    rows = [
        Row("first", [Panel(zero, "a"), Panel(ramp, "b", "0.5")]),
        Row("", [Panel(ramp, "c")]),
    ]
    pixels = np.asarray(sheet(rows, "Title", "subtitle", "legend"))
    grey = np.argwhere((pixels == 128).all(2))
    top, left = grey.min(0)
    assert (pixels[top : top + 198, left : left + 198] == 128).all()
    assert pixels.shape[1] == 2 * 24 + 2 * 200 + GAP


def test_many_panels_stay_large_enough_to_see() -> None:
    row = Row("", [Panel(np.ones((40, 40, 1)), str(i)) for i in range(12)])
    assert sheet([row], "", "", "").width == 2 * 24 + 12 * 128 + 11 * GAP
