"""Blocks: layers are folded by their names, and blocks of one structure together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backlight.atlas import open_atlas
from backlight.web.blocks import block_names, is_open, runs
from backlight.web.contexts import LayerView
from backlight.web.lanes import lanes
from backlight.web.views import Views
from web.branched import make_branched_atlas


@pytest.mark.parametrize(
    ("names", "blocks"),
    [
        ([], []),
        (["relu1", "relu2"], [("relu1", 1), ("relu2", 1)]),
        (["features.0", "features.3", "head"], [("features", 2), ("head", 1)]),
        (["layer1.0.relu", "layer1.0.relu_1", "layer1.1.relu"], [("layer1.0", 2), ("layer1.1.relu", 1)]),
        (["f.2.conv.0.2", "f.2.conv.1.2", "f.3.conv.0.2"], [("f.2.conv", 2), ("f.3.conv.0.2", 1)]),
        (["m.left.relu", "m.right.relu", "m.cat", "n.left.relu"], [("m", 3), ("n.left.relu", 1)]),
    ],
)
def test_a_block_is_what_names_have_in_common(names: list[str], blocks: list[tuple[str, int]]) -> None:
    assert block_names(names) == blocks


@pytest.fixture
def layers(tmp_path: Path) -> list[LayerView]:
    """A stem, and the blocks one, two and three of four layers each."""
    make_branched_atlas(tmp_path / "a.atlas")
    atlas = open_atlas(tmp_path / "a.atlas")
    views = Views(atlas)
    found = [views.layer(name) for name in atlas]
    atlas.close()
    return found


def names(layers: list[LayerView]) -> list[list[str]]:
    rows = lanes([own.name for own in layers], [own.sources for own in layers])[1:]
    return [[block.name for block in run.blocks] for run in runs(layers, rows)]


def test_blocks_are_alike_if_operators_shapes_and_connections_are(layers: list[LayerView]) -> None:
    assert names(layers) == [["stem"], ["one", "two"], ["three"]]
    two = [own.name for own in layers].index("two.right")
    for change in ({"operator": "silu"}, {"shape": (2, 6, 6)}, {"sources": ("two.left",)}):
        changed = [*layers[:two], replace(layers[two], **change), *layers[two + 1 :]]
        assert names(changed) == [["stem"], ["one"], ["two"], ["three"]]
    unknown = [replace(own, sources=None) for own in layers]
    assert names(unknown) == [["stem"], ["one", "two"], ["three"]]


def test_single_layers_are_never_folded_however_alike(layers: list[LayerView]) -> None:
    alike = [replace(layers[0], name=name) for name in ("a", "b", "c")]
    assert names(alike) == [["a"], ["b"], ["c"]]


def test_more_than_24_layers_are_folded_at_first(layers: list[LayerView]) -> None:
    assert is_open(layers[:12] * 2)
    assert not is_open([*layers[:12] * 2, layers[0]])
