"""Rule sets side by side: what is drawn is what a build by the other rules would store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backlight
from backlight.errors import BadInputError, UnknownLayerError
from backlight.operators.ruleset import GRADIENT, GUIDED
from backlight.render import Tile
from backlight.studies import side_by_side as module
from backlight.studies.side_by_side import side_by_side

Others = Mapping[str, Sequence[Sequence[Tile]]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Others]:
    """What is handed to the figure beside the atlas's own pictures, in the order of the calls."""
    seen: list[Others] = []
    real = module.draw

    def draw(figure: str, *arguments: Any) -> Any:
        seen.append(arguments[-1])
        return real(figure, *arguments)

    monkeypatch.setattr(module, "draw", draw)
    return seen


def test_other_rules_show_what_a_build_by_them_would(
    planted: Any, drawn: list[Others], tmp_path: Path
) -> None:
    atlas, net, source = planted
    reports: list[tuple[str, int, int]] = []
    picture = side_by_side(atlas, net, source, "relu_1", progress=lambda *report: reports.append(report))
    assert list(drawn[0]) == ["guided"]
    assert reports == [("side by side", 1, 2), ("side by side", 2, 2)]
    built = backlight.build(net, source, tmp_path / "guided.atlas", ["relu_1"], rules=GUIDED)
    for feature_map, tiles in zip(built["relu_1"].values(), drawn[0]["guided"], strict=True):
        assert len(tiles) == len(feature_map.hits) > 0
        for hit, tile in zip(feature_map.hits, tiles, strict=True):
            assert tile.box == hit.box
            np.testing.assert_array_equal(tile.patch, np.asarray(hit.patch))
            # the atlas stores projections in steps
            step = np.abs(hit.projection_values).max() / 100
            np.testing.assert_allclose(tile.projection, hit.projection_values, atol=step)
    assert picture.width > atlas.figure("relu_1").width


def test_several_rule_sets_and_chosen_maps(planted: Any, drawn: list[Others]) -> None:
    atlas, net, source = planted
    side_by_side(atlas, net, source, None, ["deconvnet", "gradient", GUIDED, GRADIENT], channels=1)
    assert {name: len(maps) for name, maps in drawn[0].items()} == {"gradient": 1, "guided": 1}


def test_a_layer_that_is_not_drawn_by_the_deconvnet_is_compared_with_it(
    planted: Any, drawn: list[Others], tmp_path: Path
) -> None:
    _, net, source = planted
    built = backlight.build(net, source, tmp_path / "guided.atlas", ["relu_1"], rules=GUIDED)
    side_by_side(built, net, source)
    assert list(drawn[0]) == ["deconvnet"]


def test_bad_input_says_what_to_do(planted: Any) -> None:
    atlas, net, source = planted
    with pytest.raises(BadInputError, match="shows this layer by deconvnet already; name another rule set"):
        side_by_side(atlas, net, source, "relu_1", ["deconvnet"])
    with pytest.raises(BadInputError, match="rule set 'lrp' does not exist"):
        side_by_side(atlas, net, source, "relu_1", ["lrp"])
    with pytest.raises(UnknownLayerError):
        side_by_side(atlas, net, source, "none")
    with pytest.raises(BadInputError, match="other images"):
        side_by_side(atlas, net, [np.zeros((32, 32, 3), np.uint8)], "relu_1")
