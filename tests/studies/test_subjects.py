"""The hits of an atlas that a study examines."""

import numpy as np
import pytest

from backlight.errors import BadInputError, UnknownLayerError
from backlight.geometry import Box
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, MASKED
from backlight.projection import Unit
from backlight.studies.subjects import Subject, choose_subjects, distances, rule_sets_of, subjects_in


def test_hits_are_taken_map_by_map_the_strongest_first(planted):
    atlas, _, _ = planted
    chosen = choose_subjects(atlas, "relu_1", None, 4, 0)
    assert [[own.rank for own in maps] for maps in chosen] == [[0, 1, 2, 3]] * 2
    for maps in chosen:
        for own in maps:
            hit = atlas["relu_1"][own.unit.channel].hits[own.rank]
            assert (own.unit.row, own.unit.col, own.image_id, own.box) == (
                hit.row,
                hit.col,
                hit.image_id,
                hit.box,
            )
            assert own.inside == own.box.clip(32, 32)
    with pytest.raises(UnknownLayerError):
        choose_subjects(atlas, "none", None, 4, 0)


def test_maps_are_drawn_by_seed_and_layer(planted):
    atlas, _, _ = planted
    drawn = [choose_subjects(atlas, "relu_1", 1, 1, seed)[0][0].unit.channel for seed in range(8)]
    assert drawn == [choose_subjects(atlas, "relu_1", 1, 1, seed)[0][0].unit.channel for seed in range(8)]
    assert set(drawn) == {0, 1}


def test_the_hits_of_a_map_are_those_of_the_atlas(planted):
    atlas, _, _ = planted
    found = subjects_in(atlas["relu_1"][1], (32, 32))
    assert [(own.unit.channel, own.image_id) for own in found] == [
        (1, hit.image_id) for hit in atlas["relu_1"][1].hits
    ]


def test_distances_are_from_the_middle_of_the_field():
    hit = Subject(Unit("conv", 0, 0, 0), 0, 0, Box(-2, 1, 3, 6), Box(0, 1, 3, 6))
    assert hit.centre == (0, 3)
    found = distances(hit)
    assert found.shape == (3, 5)
    np.testing.assert_allclose(found[0], [2, 1, 0, 1, 2])
    np.testing.assert_allclose(found[2, 0], np.sqrt(8))


def test_rule_sets_are_those_of_the_papers_of_the_atlas_and_rivals(planted):
    atlas, _, _ = planted
    assert rule_sets_of(atlas) == [DECONVNET, GUIDED, GRADIENT]
    assert rule_sets_of(atlas, ("masked", "guided")) == [DECONVNET, GUIDED, GRADIENT, MASKED]
    with pytest.raises(BadInputError, match="rule set 'lrp' does not exist"):
        rule_sets_of(atlas, ("lrp",))
