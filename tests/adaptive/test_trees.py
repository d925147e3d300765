"""The picture of a tree: its rows and columns, what each panel shows, and what has no tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from adaptive.coded import SILENT, coded
from backlight.adaptive import Branch, tree_picture, trees
from backlight.adaptive.decomposition import strongest_activations, tree
from backlight.adaptive.sheets import GAP, Panel
from backlight.errors import BadInputError
from backlight.render.page import Frame


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
