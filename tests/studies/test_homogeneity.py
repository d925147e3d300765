"""Homogeneity: planted maps come out as planted, chance comes out as chance, tiles lie where their units are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import backlight
from backlight.atlas.writer import AtlasWriter
from backlight.cli.homogeneity import homogeneity as command
from backlight.errors import BadInputError, UnknownLayerError
from backlight.geometry import Box
from backlight.studies import homogeneity
from backlight.studies.homogeneity import Homogeneity, HomogeneityConfig
from backlight.studies.homogeneity.aligned import ALIGNED_SIDE, AlignedTiles, aligned_tiles, canvas
from backlight.studies.homogeneity.alike import (
    colour_similarities,
    correlations,
    draw_sets,
    judge_maps,
    purity,
    without_common,
)
from backlight.studies.homogeneity.descriptors import describe
from backlight.studies.homogeneity.likeness import ASPECTS, hits_of, judge_layer
from conftest import SmallNet, make_pictures

SIZE, PATTERN, N_PATTERNS, OF_EACH = 32, 8, 8, 9
ONE, TWO, PAIRS = range(6), (6, 7), ((0, 1), (2, 3))
MEAN = backlight.Preprocessing(None, (SIZE, SIZE), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Detectors(nn.Module):
    """Maps 0 to 5 each find one planted pattern; maps 6 and 7 each find two: all are the larger of two detectors."""

    def __init__(self, patterns: torch.Tensor) -> None:
        super().__init__()
        self.match = nn.Conv2d(3, 2 * N_PATTERNS, PATTERN)
        found = [*ONE, *(first for first, _ in PAIRS), *ONE, *(second for _, second in PAIRS)]
        with torch.no_grad():
            self.match.weight.copy_((patterns / patterns.square().sum((1, 2, 3), keepdim=True))[found])
            self.match.bias.fill_(-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(torch.maximum(*torch.relu(self.match(x)).chunk(2, 1)))


def _pattern(generator: np.random.Generator) -> np.ndarray:
    """Return a pattern of bright and dark blocks."""
    blocks = generator.choice([0, 255], (PATTERN // 2, PATTERN // 2, 3)).astype(np.uint8)
    return blocks.repeat(2, 0).repeat(2, 1)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> backlight.Atlas:
    """Return an atlas over faint noise pictures, each with one pattern somewhere, whose name is its label."""
    torch.set_num_threads(1)
    generator, folder = np.random.default_rng(3), tmp_path_factory.mktemp("planted")
    patterns = [_pattern(generator) for _ in range(N_PATTERNS)]
    for i in range(N_PATTERNS * OF_EACH):
        picture = generator.integers(98, 158, (SIZE, SIZE, 3), np.uint8)
        row, col = generator.integers(0, SIZE - PATTERN + 1, 2)
        contrast = 1 - 0.04 * (i // N_PATTERNS)  # the same for all patterns, so that two of them take turns
        shown = 127.5 + contrast * (patterns[i % N_PATTERNS] - 127.5)
        picture[row : row + PATTERN, col : col + PATTERN] = shown.astype(np.uint8)
        own = folder / "pictures" / f"pattern{i % N_PATTERNS}"
        own.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(own / f"{i:03}.png")
    weights = torch.stack([torch.from_numpy(p / 255.0 - 0.5).permute(2, 0, 1).float() for p in patterns])
    net = backlight.capture(Detectors(weights * 4), (3, SIZE, SIZE), MEAN)
    return backlight.build(net, folder / "pictures", folder / "a.atlas", ["relu_1"], top=6)


@pytest.fixture(scope="module")
def found(planted: backlight.Atlas) -> Homogeneity:
    return homogeneity.run(planted)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> backlight.Atlas:
    """Return an atlas of a random network over noise, with labels that say nothing."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("noise")
    for i in range(60):
        own = folder / "pictures" / "abc"[i % 3]
        own.mkdir(parents=True, exist_ok=True)
        picture = generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(picture).save(own / f"{i:03}.png")
    net = backlight.capture(SmallNet().eval(), (3, SIZE, SIZE), MEAN)
    return backlight.build(net, folder / "pictures", folder / "a.atlas", ["relu2"])


# --- planted truth --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aspect", ["projections", "patches", "labels"])
def test_a_map_of_two_patterns_scores_lower_than_every_map_of_one(found: Homogeneity, aspect: str) -> None:
    scores = [own.by_aspect[aspect].score for own in found.scores("relu_1")]
    assert min(scores[channel] for channel in ONE) > max(scores[channel] for channel in TWO) + 0.2
    assert set(found.ranked("relu_1", aspect)[-2:]) == set(TWO)


@pytest.mark.parametrize("aspect", ["projections", "patches", "labels"])
def test_a_map_of_one_pattern_lies_above_chance(found: Homogeneity, aspect: str) -> None:
    for channel in ONE:
        own = found.scores("relu_1")[channel].by_aspect[aspect]
        assert own.score > 0.8
        assert own.null_mean < 0.2
        assert own.p_value == 1 / 1000
        assert own.percentile == 1
        assert own.z > 3
    layer = found.layer_score("relu_1", aspect)
    assert layer.auc > 0.95
    assert layer.n == N_PATTERNS
    assert layer.n_above >= len(ONE)
    assert layer.excess.above_zero


def test_label_purity_is_exact(planted: backlight.Atlas, found: Homogeneity) -> None:
    for channel, own in enumerate(found.scores("relu_1")):
        labels = [planted.images[hit.image_id].label for hit in planted["relu_1"][channel].hits]
        counts = Counter(labels)
        assert own.channel == channel
        assert own.n_hits == 6
        assert own.purity == max(counts.values()) / 6
        pairs = [a == b for a, b in combinations(labels, 2)]
        assert own.by_aspect["labels"].score == pytest.approx(np.mean(pairs))
        assert len(counts) == (1 if channel in ONE else 2)


def test_purity_counts_only_what_has_a_label() -> None:
    assert purity(["a", "b", "a", "a", None]) == 3 / 4
    assert purity(["a", "b"]) == 1 / 2
    assert np.isnan(purity([None, None]))


# --- chance ---------------------------------------------------------------------------------------------------


def test_on_a_random_network_over_noise_nothing_but_projections_lies_above_chance(
    noise: backlight.Atlas,
) -> None:
    found = homogeneity.run(noise)
    for aspect in ("patches", "colours", "labels"):
        p_values = [own.by_aspect[aspect].p_value for own in found.scores("relu2")]
        assert np.mean(p_values) > 0.35
        assert np.mean(np.array(p_values) <= 0.05) <= 0.25
        assert 0.3 < found.layer_score("relu2", aspect).auc < 0.7


def test_hits_dealt_out_to_maps_at_random_do_not_lie_above_chance(noise: backlight.Atlas) -> None:
    hits = hits_of(noise, "relu2")
    generator = np.random.default_rng(1)
    p_values = []
    for seed in range(2):
        order = generator.permutation(len(hits.hits))
        dealt = replace(
            hits,
            hits=tuple(hits.hits[i] for i in order),
            image_ids=hits.image_ids[order],
            labels=tuple(hits.labels[i] for i in order),
        )
        judged = judge_layer(dealt, (SIZE, SIZE), 199, seed)
        p_values.append([own.p_values for own in judged])
    by_aspect = np.concatenate(p_values, 1)
    assert by_aspect.shape == (len(ASPECTS), 2 * 12)
    assert (abs(by_aspect.mean(1) - 0.5) < 0.17).all()
    assert ((by_aspect <= 0.05).mean(1) < 0.15).all()
    assert ((by_aspect > 0) & (by_aspect <= 1)).all()


def test_p_values_are_uniform_where_maps_mean_nothing_and_small_where_they_do() -> None:
    generator = np.random.default_rng(0)
    maps, images = np.repeat(np.arange(60), 9), np.arange(540)
    rows = generator.normal(size=(540, 40))
    known = np.full(rows.shape, True)
    sets = draw_sets(maps, images, 9, 999, generator)
    by_chance = judge_maps(correlations(rows, known), maps, images, sets, 60)
    assert abs(by_chance.p_values.mean() - 0.5) < 0.1
    assert (by_chance.p_values <= 0.1).mean() < 0.2
    own = rows + generator.normal(size=(60, 40))[maps]
    planted = judge_maps(correlations(own, known), maps, images, sets, 60)
    assert (planted.p_values == 1 / 1000).all()
    assert abs(planted.null_means).max() < 0.02


def test_a_score_is_the_mean_over_pairs_and_its_rank_counts_ties_against_it() -> None:
    maps, images = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 3, 4, 5])
    similarities = np.zeros((6, 6))
    for (i, j), value in {(0, 1): 0.6, (0, 2): 0.3, (1, 2): 0.0, (3, 4): 0.0}.items():
        similarities[i, j] = similarities[j, i] = value
    sets = draw_sets(maps, images, 3, 50, np.random.default_rng(0))
    found = judge_maps(similarities, maps, images, sets, 4)
    assert found.scores[0] == pytest.approx(0.3)
    assert found.p_values[:2].tolist() == [1 / 51, 1.0]
    assert found.percentiles[:2].tolist() == [1.0, 0.5]
    for own in (found.scores, found.null_means, found.percentiles, found.p_values):
        assert np.isnan(own[2:]).all()  # one hit, no hit


def test_a_map_is_compared_with_sets_of_as_many_hits_as_it_has() -> None:
    generator = np.random.default_rng(0)
    maps, images = np.repeat(np.arange(12), [2, *[9] * 11]), np.arange(101)
    rows = generator.normal(size=(101, 10))
    sets = draw_sets(maps, images, 9, 400, generator)
    found = judge_maps(correlations(rows, np.full(rows.shape, True)), maps, images, sets, 12)
    assert found.null_spreads[0] > 3 * found.null_spreads[1]  # 1 pair, not 36


def test_sets_are_of_different_maps_and_images_where_that_is_possible() -> None:
    maps, images = np.repeat(np.arange(9), 4), np.tile(np.arange(12), 3)
    sets = draw_sets(maps, images, 9, 200, np.random.default_rng(0))
    for own in sets:
        assert len(set(maps[own])) == 9
        assert len(set(images[own])) == 9
    assert len({tuple(sorted(own)) for own in sets.tolist()}) > 150
    assert set(sets.ravel()) == set(range(36))


def test_too_few_maps_come_again_equally_often_but_never_the_same_hit() -> None:
    maps, images = np.repeat(np.arange(3), 6), np.arange(18)
    for own in draw_sets(maps, images, 6, 50, np.random.default_rng(0)):
        assert sorted(Counter(maps[own]).values()) == [2, 2, 2]
        assert len(set(own)) == 6


def test_pairs_of_one_map_and_of_one_image_are_no_chance() -> None:
    maps, images = np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    alike = ((maps[:, None] == maps) | (images[:, None] == images)).astype(float)
    sets = draw_sets(maps, images, 3, 60, np.random.default_rng(0))
    assert judge_maps(alike, maps, images, sets, 2).null.tolist() == [0.0] * 60
    one_image = judge_maps(alike, maps, np.zeros(6, int), sets, 2)
    assert np.isnan([one_image.scores, one_image.p_values]).all()


# --- similarities ---------------------------------------------------------------------------------------------


def test_correlations_are_those_over_what_both_have() -> None:
    generator = np.random.default_rng(0)
    rows, known = generator.normal(3, 2, (7, 30)), generator.random((7, 30)) < 0.8
    found = correlations(rows, known)
    for i, j in combinations(range(7), 2):
        both = known[i] & known[j]
        assert found[i, j] == pytest.approx(np.corrcoef(rows[i, both], rows[j, both])[0, 1], abs=1e-4)
    np.testing.assert_allclose(found, found.T, atol=1e-6)


def test_what_is_flat_or_shares_little_has_no_correlation() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 16))
    rows[1] = 5
    known = np.full(rows.shape, True)
    known[2, 3:], known[3, :1] = False, False
    found = correlations(rows, known)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[0, 2])
    assert not np.isnan(found[0, 3])


def test_many_rows_are_done_in_blocks_alike() -> None:
    rows = np.random.default_rng(0).normal(size=(700, 5))
    found = correlations(rows, np.full(rows.shape, True))
    np.testing.assert_allclose(found, np.corrcoef(rows), atol=1e-5)


def test_what_is_common_is_taken_away_over_what_is_known() -> None:
    rows, known = (
        np.array([[1.0, 5.0], [3.0, 7.0], [5.0, 100.0]]),
        np.array([[True, True], [True, True], [True, False]]),
    )
    assert without_common(rows, known)[:2].tolist() == [[-2.0, -1.0], [0.0, 1.0]]


def test_colours_are_alike_by_their_distance() -> None:
    found = colour_similarities(np.array([[50.0, 0, 0], [50, 30, 40], [np.nan] * 3]))
    assert found[0, 1] == pytest.approx(0.5)
    assert np.isnan(found[2]).all()


# --- aligned tiles --------------------------------------------------------------------------------------------


def _tiles(projections: np.ndarray, patches: np.ndarray, valid: np.ndarray | None = None) -> AlignedTiles:
    inside = np.full(projections.shape[:3], True) if valid is None else valid
    return AlignedTiles(projections.astype(np.float32), patches.astype(np.float32), inside)


def test_edges_tell_orientations_apart_and_not_colours_or_contrast() -> None:
    rows = np.indices((ALIGNED_SIDE, ALIGNED_SIDE))[0]
    stripes = (np.sin(rows / 3) / 2 + 0.5)[..., None] * (rows[..., None] > 20)
    red, grey = stripes * np.array([1, 0.0, 0]), 0.3 * stripes * np.ones(3)
    pictures = np.stack([red, grey, red.transpose(1, 0, 2), -red])
    found = describe(_tiles(pictures, abs(pictures)))
    for edges, known in (
        (found.projections, found.projections_known),
        (found.patches, found.patches_known),
    ):
        similarities = correlations(edges, known)
        assert similarities[0, [1, 3]].min() > 0.99
        assert similarities[0, 2] < 0.2
    colours = colour_similarities(found.colours)
    assert colours[0, 2] > 0.9 > 0.8 > colours[0, 1]


def test_a_shift_within_a_cell_is_forgiven_and_a_far_one_is_not() -> None:
    blocks = np.random.default_rng(0).normal(size=(20, 5, 5, 1)).repeat(4, 1).repeat(4, 2)
    pictures = np.pad(blocks, ((0, 2), (20, 24), (20, 24), (0, 0)))
    pictures[20], pictures[21] = np.roll(pictures[0], 2, 1), np.roll(pictures[0], 20, 1)
    found = describe(_tiles(pictures, np.zeros((22, ALIGNED_SIDE, ALIGNED_SIDE, 3))))
    rows, known = found.projections, found.projections_known
    similarities = correlations(without_common(rows, known), known)
    assert similarities[0, 20] > 0.6
    assert similarities[0, 1:20].max() < 0.5
    assert similarities[0, 21] < 0.1


def test_what_is_even_is_not_compared_but_has_a_colour() -> None:
    found = describe(
        _tiles(np.zeros((1, ALIGNED_SIDE, ALIGNED_SIDE, 1)), np.full((1, ALIGNED_SIDE, ALIGNED_SIDE, 3), 0.7))
    )
    assert not found.projections_known.any()
    assert not found.patches_known.any()
    assert not np.isnan(found.colours).any()


def test_what_lies_outside_of_the_image_is_not_compared() -> None:
    valid = np.full((2, ALIGNED_SIDE, ALIGNED_SIDE), True)
    valid[0, :20], valid[1] = False, False
    pictures = np.random.default_rng(0).random((2, ALIGNED_SIDE, ALIGNED_SIDE, 3))
    pictures[0, :20] = 0
    found = describe(_tiles(pictures, pictures, valid))
    for known in (found.projections_known, found.patches_known):
        by_cell = known[0].reshape(8, 8, 8)
        assert not by_cell[:3].any()  # of the third row of cells, half lies outside
        assert by_cell[3:].all()
        assert not known[1].any()
    assert np.isnan(found.colours[1]).all()
    whole = describe(
        _tiles(
            pictures[:1, 20:44, :24].repeat(3, 1)[:, :ALIGNED_SIDE].repeat(3, 2)[:, :, :ALIGNED_SIDE],
            pictures[:1],
        )
    )
    assert found.colours[0, 0] > whole.colours[0, 0]  # the black part is not of the image


def test_tiles_lie_with_their_unit_in_the_middle(noise: backlight.Atlas) -> None:
    layer = noise["relu2"]
    hits = [hit for channel in layer.channels for hit in layer[channel].hits]
    (field, _), done = layer.receptive_field.size, 0
    for tiles in aligned_tiles(layer, hits, (SIZE, SIZE)):
        for projection, patch, valid in zip(tiles.projections, tiles.patches, tiles.valid, strict=True):
            hit = hits[done]
            done += 1
            box, inside = hit.box, hit.box.clip(SIZE, SIZE)
            assert valid.mean() == pytest.approx(inside.area / box.area, abs=0.08)
            place = ((np.arange(ALIGNED_SIDE) + 0.5) * field / ALIGNED_SIDE).astype(
                int
            )  # nearest pixel of the canvas
            rows, cols = (
                (place + start).clip(low, high - 1) - low
                for start, low, high in (
                    (box.top, inside.top, inside.bottom),
                    (box.left, inside.left, inside.right),
                )
            )
            own = hit.projection_values[np.ix_(rows, cols)]
            assert np.corrcoef(own.ravel(), projection.ravel())[0, 1] > 0.75
            seen = np.asarray(hit.patch)[np.ix_(rows, cols)] / 255
            assert np.corrcoef(seen.ravel(), patch.ravel())[0, 1] > 0.75
    assert done == len(hits)


def test_of_a_wide_field_only_the_middle_that_projections_fill_is_taken(tmp_path: Path) -> None:
    conv = nn.Conv2d(3, 2, 17, padding=8)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.weight[:, :, 8, 8], 1)
    net = backlight.capture(nn.Sequential(conv, nn.ReLU()), (3, SIZE, SIZE), MEAN)
    atlas = backlight.build(net, make_pictures(tmp_path / "pictures", 6), tmp_path / "a.atlas", ["1"], top=4)
    hits = atlas["1"][0].hits
    (tiles,) = aligned_tiles(atlas["1"], hits, (SIZE, SIZE))
    for hit, patch in zip(hits, tiles.patches, strict=True):
        inside = hit.box.clip(SIZE, SIZE)
        pixel = np.asarray(hit.patch)[hit.row - inside.top, hit.col - inside.left] / 255
        np.testing.assert_allclose(patch, np.broadcast_to(pixel, patch.shape), atol=1e-3)
    assert tiles.valid.all()


class WholeImage(nn.Module):
    """Units with a place that see the whole image, since all are divided by the image's mean, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, 2)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.conv(x))
        z = torch.relu(nn.functional.interpolate(y.mean((2, 3), keepdim=True), (8, 4)))
        return torch.relu(self.fc(z.mean((2, 3))))


def test_units_that_see_the_whole_image_are_aligned_by_their_place_if_they_have_one(tmp_path: Path) -> None:
    net = backlight.capture(WholeImage(), (3, SIZE, SIZE), MEAN)
    pictures = make_pictures(tmp_path / "pictures", 8)
    names = [layer.name for layer in net.layers if layer.operator == "relu"]
    atlas = backlight.build(net, pictures, tmp_path / "a.atlas", names[1:], top=3)
    spatial, linear = atlas.layers
    assert spatial.receptive_field is None
    hit = next(hit for channel in spatial.channels for hit in spatial[channel].hits)
    moved = replace(hit, row=2, col=1)
    assert canvas(spatial, moved, (SIZE, SIZE)) == Box(10 - 16, 12 - 16, 10 + 16, 12 + 16)
    own = next(hit for channel in linear.channels for hit in linear[channel].hits)
    assert canvas(linear, own, (SIZE, SIZE)) == Box(0, 0, SIZE, SIZE)
    (tiles,) = aligned_tiles(spatial, [moved], (SIZE, SIZE))
    assert tiles.valid.sum() == (26 * 28) * (ALIGNED_SIDE // SIZE) ** 2
    found = homogeneity.run(atlas, [spatial.name])
    assert found.layer_score(spatial.name, "patches").n > 0


# --- results and errors ---------------------------------------------------------------------------------------


def test_a_result_comes_again_with_its_seed_and_comes_back_from_its_files(
    planted: backlight.Atlas, found: Homogeneity, tmp_path: Path
) -> None:
    said: list[tuple[str, int, int]] = []
    again = homogeneity.run(planted, ["relu_1"], HomogeneityConfig(), progress=lambda *own: said.append(own))
    np.testing.assert_array_equal(again.nulls, found.nulls)
    assert said[-1] == ("homogeneity", 48, 48)
    other = homogeneity.run(planted, config=HomogeneityConfig(n_draws=99, seed=1))
    assert not np.array_equal(other.nulls[:, :, :50], found.nulls[:, :, :50])
    np.testing.assert_array_equal(other.map_scores, found.map_scores)
    found.save(tmp_path / "found")
    for back in (Homogeneity.load(tmp_path / "found"), Homogeneity.from_bytes(found.to_bytes())):
        assert back.summary() == found.summary()
        assert back.config == found.config
        np.testing.assert_array_equal(back.examples, found.examples)
        assert back.ranked("relu_1") == found.ranked("relu_1")


def test_the_figure_shows_the_most_and_the_least_alike_maps(found: Homogeneity) -> None:
    assert found.examples.shape[:3] == (6, 2, 6)
    assert tuple(found.example_channels) == (*found.ranked("relu_1")[:3], *found.ranked("relu_1")[-3:])
    figure = found.plot()
    words = " ".join(text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts))
    for aspect in ASPECTS:
        assert aspect in words
    assert f"channel {found.example_channels[-1]}: " in words
    assert found._repr_png_().startswith(b"\x89PNG")


def test_without_labels_there_is_nothing_to_say_of_them(tmp_path: Path) -> None:
    net = backlight.capture(SmallNet().eval(), (3, SIZE, SIZE), MEAN)
    pictures = [Image.open(path) for path in sorted(make_pictures(tmp_path / "p", 12).rglob("*.png"))]
    atlas = backlight.build(net, pictures, tmp_path / "a.atlas", maps=4, top=4)
    found = homogeneity.run(atlas, config=HomogeneityConfig(n_draws=20))
    assert found.aspects == ("projections", "patches", "colours")
    assert found.mean_purity("relu2") is None
    assert found.layers == ("relu1", "relu2")
    assert "labels" not in found.summary()["relu1"]
    assert found.layer_score("relu1", "projections").score == pytest.approx(1, abs=0.05)  # the filter, pasted
    found.save(tmp_path / "found")
    assert len(found.plot().axes) == 3 + 4
    long = replace(found, layers=("features.4.expand3x3_activation", "features.10.expand3x3_activation"))
    names = [label.get_text() for label in long.plot().axes[0].get_yticklabels()]
    assert [name[:11] for name in names] == ["features.4.", "features.10"]
    alone = homogeneity.run(
        atlas, ["relu2"], HomogeneityConfig(n_draws=20)
    )  # what is drawn does not depend on other layers
    np.testing.assert_array_equal(alone.nulls[:3, 0], found.nulls[:3, 1])


def test_an_atlas_with_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    net = backlight.capture(SmallNet().eval(), (3, SIZE, SIZE), MEAN)
    pictures = make_pictures(tmp_path / "pictures", 6)
    one_map = backlight.build(net, pictures, tmp_path / "one.atlas", ["relu2"], maps=[3])
    with pytest.raises(
        BadInputError, match=r"drawing hits from different maps, but one.atlas has hits of 1 .* more maps"
    ):
        homogeneity.run(one_map)
    top1 = backlight.build(net, pictures, tmp_path / "top.atlas", ["relu2"], top=1)
    with pytest.raises(
        BadInputError, match=r"top.atlas has no map of layer 'relu2' .* top 1\); build it with a"
    ):
        homogeneity.run(top1)
    with pytest.raises(UnknownLayerError, match=r"top.atlas has no layer 'relu9'; it has relu2"):
        homogeneity.run(top1, ["relu9"])


def test_an_unfinished_atlas_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = backlight.capture(SmallNet().eval(), (3, SIZE, SIZE), MEAN)
    monkeypatch.setattr(AtlasWriter, "finish", lambda *_: None)
    atlas = backlight.build(net, make_pictures(tmp_path / "p", 4), tmp_path / "a.atlas", ["relu2"])
    with pytest.raises(BadInputError, match=r"a.atlas is not finished; call build again as before"):
        homogeneity.run(atlas)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_draws": 0}, "n_draws must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_a_config_is_checked(change: dict[str, int], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        HomogeneityConfig(**change)


def test_a_layer_that_was_not_studied_is_not_known(found: Homogeneity) -> None:
    with pytest.raises(UnknownLayerError, match="layer 'relu9' was not studied; the layers are relu_1"):
        found.scores("relu9")


# --- the command ----------------------------------------------------------------------------------------------

APP = typer.Typer()
APP.command()(command)


def test_the_command_prints_a_table_and_writes_figure_and_numbers(
    planted: backlight.Atlas, found: Homogeneity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, stem = tmp_path / "h.png", tmp_path / "h"
    command(planted.path, picture, stem, "relu_1", 99, 0)
    printed = " ".join(capsys.readouterr().out.split())
    assert "layer projections patches colours labels purity relu_1" in printed
    first, last = found.ranked("relu_1")[0], found.ranked("relu_1")[-1]
    assert f"relu_1: feature maps most alike by projections {first}, " in printed
    assert f"; least {last}, " in printed
    assert Image.open(picture).width > 500
    assert Homogeneity.load(stem).config == HomogeneityConfig(n_draws=99)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layers", "relu9"), "a.atlas has no layer 'relu9'; it has relu_1"),
        (("--draws", "0"), "n_draws must be at least 1"),
        (("-o", "h.gif"), "a figure is written as .png, .webp, .pdf, .svg or .jpg, got 'h.gif'"),
        (("--save", "nowhere/h"), "no such folder: 'nowhere'; make it first"),
    ],
)
def test_bad_input_to_the_command_is_one_line(
    planted: backlight.Atlas, arguments: tuple[str, ...], message: str
) -> None:
    result = CliRunner().invoke(APP, [str(planted.path), *arguments])
    assert isinstance(result.exception, BadInputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
