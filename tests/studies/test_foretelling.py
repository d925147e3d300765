"""Foretelling: planted truth is foretold, position alone is told apart, findings are kept beside faithfulness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import backlight
from backlight.atlas import Evidence, Foretold
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.network import Network
from backlight.studies import faithfulness, foretelling
from backlight.studies.faithfulness import Faithfulness, FaithfulnessConfig
from backlight.studies.foretelling import Foretelling, ForetellingConfig
from backlight.studies.foretelling.squares import (
    partial_correlation,
    rank_correlation,
    squares_over,
    sums_under,
)
from backlight.studies.responses import UnitResponses
from studies.planted import MEAN, SIZE, Detector, Planted, plant

QUICK = ForetellingConfig(hits=4, size=0.3)


def test_a_planted_pattern_is_foretold_and_its_distance_is_not(planted: Planted) -> None:
    result = foretelling.run(*planted, config=ForetellingConfig(size=0.3))
    own = result.summary()["relu_1"]
    assert result.methods == ("deconvnet", "guided", "gradient", "gradient x input", "centre")
    channels, correlations, partial = result.map_values("relu_1")
    found = correlations[channels.tolist().index(0)]
    # the pattern lies off the middle, so being near the unit foretells little, the projection much
    assert found[0] > 0.6
    assert found[0] > found[-1] + 0.3
    assert partial[0, 0] > 0.5
    assert np.isnan(partial[:, -1]).all()
    assert own["n_maps"] == 2
    assert own["partial"]["deconvnet"]["low"] <= own["partial"]["deconvnet"]["mean"]


def test_the_correlations_are_those_of_squares_covered_one_by_one(planted: Planted) -> None:
    """A loop over whole images, without crops or tables of sums."""
    atlas, net, source = planted
    config = ForetellingConfig(maps=1, hits=2, size=0.4, stride=3)
    result = foretelling.run(atlas, net, source, config=config)
    channel = int(result.channels[0])
    for i, hit in enumerate(atlas["relu_1"][channel].hits[:2]):
        image = net.prepare([source.load(hit.image_id)])
        unit = backlight.Unit("relu_1", channel, hit.row, hit.col)
        energy = backlight.project(net, image, [unit])[0].double().square().sum(0)
        before = net.features("relu_1")(image)[0][0, channel, hit.row, hit.col].item()
        box, inside = hit.box, hit.box.clip(SIZE, SIZE)
        under, falls, away = [], [], []
        for square in squares_over(box, inside, 0.4, 3):
            covered = image.clone()
            covered[0, :, *square.slices()] = image[0].mean((1, 2))[:, None, None]
            after = net.features("relu_1")(covered)[0][0, channel, hit.row, hit.col].item()
            under.append(energy[square.slices()].sum().item())
            falls.append(1 - max(after, 0) / before)
            middle = (square.top + square.bottom) / 2, (square.left + square.right) / 2
            away.append(
                np.hypot(middle[0] - (box.top + box.bottom) / 2, middle[1] - (box.left + box.right) / 2)
            )
        assert result.n_squares[i] == len(under)
        assert result.correlations[i, 0] == pytest.approx(stats.spearmanr(under, falls).statistic, abs=1e-6)
        assert result.correlations[i, -1] == pytest.approx(-stats.spearmanr(away, falls).statistic, abs=1e-6)


def test_findings_are_kept_beside_those_of_faithfulness_whichever_comes_first(planted: Planted) -> None:
    atlas, net, source = planted
    foretold = foretelling.run(atlas, net, source, config=QUICK)
    covered = faithfulness.run(atlas, net, source, config=FaithfulnessConfig(hits=2, shares=(0.1,)))
    plain = atlas.figure("relu_1")
    for first, second in ((foretold, covered), (covered, foretold)):
        first.keep(atlas.path)
        second.keep(atlas.path)
        again = backlight.open_atlas(atlas.path)
        layer = again["relu_1"]
        assert layer.foretelling is not None
        assert layer.foretelling.n == 2
        assert layer.evidence is not None
        assert layer[0].evidence.verdict == covered.verdict("relu_1", 0).text
        assert layer[0].foretelling.partial["deconvnet"] == pytest.approx(
            foretold.partial[foretold.channels == 0, 0].mean()
        )
        assert sorted(layer.studies) == ["faithfulness", "foretelling"]
        kept = Foretelling.from_bytes(layer.studies["foretelling"])
        np.testing.assert_array_equal(kept.correlations, foretold.correlations)
        assert Faithfulness.from_bytes(layer.studies["faithfulness"]).summary() == covered.summary()
        assert not backlight.atlas.verify(atlas.path).damaged
        assert again.figure("relu_1").height > plain.height


def test_what_is_kept_is_not_done_again_but_another_study_is(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas, net, source = planted
    foretelling.run(atlas, net, source, config=QUICK).keep(atlas.path)
    again = backlight.open_atlas(atlas.path)
    counts: list[int] = []
    whole = UnitResponses.__call__

    def counting(self: UnitResponses, inputs: torch.Tensor, units: list[backlight.Unit]) -> np.ndarray:
        counts.append(len(inputs))
        return whole(self, inputs, units)

    monkeypatch.setattr(UnitResponses, "__call__", counting)
    foretelling.run(again, net, source, config=QUICK)
    assert counts == []
    foretelling.run(again, net, source, config=ForetellingConfig(hits=4, size=0.4))
    assert counts


def test_only_foretelling_is_kept_without_evidence(planted: Planted) -> None:
    atlas, net, source = planted
    foretelling.run(atlas, net, source, config=QUICK).keep(atlas.path)
    again = backlight.open_atlas(atlas.path)
    assert again["relu_1"].evidence is None
    assert isinstance(again["relu_1"].foretelling, Foretold)
    assert again["relu_1"].heading().evidence.startswith("the layer foretells falls by ")
    weak = Evidence({"deconvnet": 0.5}, "not surely better than its own mask turned", False, "deconvnet", 2)
    backlight.atlas.keep_evidence(atlas.path, "relu_1", weak, {})
    both = backlight.open_atlas(atlas.path)["relu_1"]
    assert both.foretelling == again["relu_1"].foretelling
    assert ". The layer foretells falls by " in both.heading().evidence


def test_a_result_comes_back_from_its_files_and_draws(planted: Planted, tmp_path: Path) -> None:
    first, second = (foretelling.run(*planted, config=QUICK) for _ in range(2))
    np.testing.assert_array_equal(first.correlations, second.correlations)
    first.save(tmp_path / "found")
    back = Foretelling.load(tmp_path / "found")
    assert back.summary() == first.summary()
    assert back.config == QUICK
    assert first._repr_png_().startswith(b"\x89PNG")


def test_a_low_pass_averages_projections_over_strides_of_the_layer(planted: Planted) -> None:
    """A box of less than two pixels (the stride is 4) changes nothing, a wider one the energy and not the falls."""
    config = ForetellingConfig(maps=1, hits=2)
    plain, narrow, wide = (
        foretelling.run(*planted, config=replace(config, low_pass=own)) for own in (0.0, 0.25, 1.0)
    )
    np.testing.assert_array_equal(narrow.correlations, plain.correlations)
    assert (wide.correlations[:, :2] != plain.correlations[:, :2]).all()
    np.testing.assert_array_equal(wide.correlations[:, 3:], plain.correlations[:, 3:])


def test_a_layer_without_places_is_studied_over_the_whole_image(planted: Planted, tmp_path: Path) -> None:
    pattern, source = plant(6, np.random.default_rng(1))

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Detector(pattern)
            self.last = torch.nn.Linear(2 * 49, 3)
            torch.nn.init.normal_(self.last.weight, 0.1, generator=torch.Generator().manual_seed(0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.last(self.body(x).flatten(1)))

    net: Network = backlight.capture(Classifier(), (3, SIZE, SIZE), MEAN)
    atlas = backlight.build(net, source, tmp_path / "b.atlas", ["relu"], top=3)
    result = foretelling.run(atlas, net, source, config=ForetellingConfig(hits=1))
    assert set(result.n_squares) == {len(squares_over(Box(0, 0, 32, 32), Box(0, 0, 32, 32), 0.4))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0.0}, "the size of the square is a share between 0 and 1, such as 0.4, got 0.0"),
        ({"size": 40.0}, "the size of the square is a share"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"hits": 0}, "hits must be at least 1, got 0"),
        ({"low_pass": -1.0}, "low_pass must not be negative, got -1.0"),
    ],
)
def test_a_config_is_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        ForetellingConfig(**change)


# --- squares --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [Box(0, 0, 30, 40), Box(5, 2, 12, 9), Box(40, 3, 60, 23)])
@pytest.mark.parametrize("stride", [None, 1, 7])
def test_squares_cover_every_pixel_and_stay_inside(inside: Box, stride: int | None) -> None:
    squares = squares_over(inside, inside, 0.4, stride)
    seen = np.zeros((100, 40), bool)
    for square in squares:
        assert inside.contains(square)
        seen[square.slices()] = True
    if stride is None or stride <= squares[0].height:
        assert seen[inside.slices()].all()
    if stride is None:
        assert len({square.top for square in squares}) <= 9
    assert len(set(squares)) == len(squares)


def test_a_field_far_larger_than_the_image_has_squares_of_a_share_of_the_image() -> None:
    squares = squares_over(Box(-60, -60, 92, 92), Box(0, 0, 32, 32), 0.4)
    assert {(own.height, own.width) for own in squares} == {(13, 13)}
    assert len(squares) > 9
    # where it only reaches over an edge, squares stay a share of the field
    assert {own.height for own in squares_over(Box(-4, 0, 16, 20), Box(0, 0, 16, 20), 0.4)} == {8}


def test_sums_under_squares_are_sums() -> None:
    generator = np.random.default_rng(0)
    values, at = generator.random((20, 30)), Box(3, 4, 23, 34)
    squares = squares_over(at, at, 0.3, 5)
    wanted = [values[own.slices(at.top, at.left)].sum() for own in squares]
    np.testing.assert_allclose(sums_under(values, squares, at), wanted)


def test_rank_correlations_are_scipys() -> None:
    a, b, c = np.random.default_rng(0).integers(0, 9, (3, 50)).astype(float)
    r = {
        pair: stats.spearmanr(*own).statistic
        for pair, own in {"ab": (a, b), "ac": (a, c), "bc": (b, c)}.items()
    }
    assert rank_correlation(a, b) == pytest.approx(r["ab"])
    wanted = (r["ab"] - r["ac"] * r["bc"]) / np.sqrt((1 - r["ac"] ** 2) * (1 - r["bc"] ** 2))
    assert partial_correlation(a, b, c) == pytest.approx(wanted)
    assert np.isnan(rank_correlation(a, np.ones(50)))
    assert np.isnan(partial_correlation(a, c, c))
    assert partial_correlation(a, b, np.ones(50)) == pytest.approx(r["ab"])
