"""What studies of hits share: results are cut by layer and put together again, and kept ones are not made again."""

from __future__ import annotations

import numpy as np
import pytest

from backlight.errors import BadInputError, UnknownLayerError
from backlight.studies.by_hit import count_of, count_subjects, merged, subjects_of
from backlight.studies.foretelling import Foretelling, ForetellingConfig
from studies.planted import Planted


def made() -> Foretelling:
    """Return a result of three hits of one layer and two of another, with numbers that tell them apart."""
    numbers = np.arange(10.0).reshape(5, 2)
    numbers[4, 1] = np.nan
    return Foretelling(
        ForetellingConfig(),
        ("deconvnet", "centre"),
        ("low", "top"),
        ("deconvnet", "guided"),
        np.array([0, 0, 0, 1, 1]),
        np.array([4, 4, 7, 2, 2]),
        np.array([0, 1, 0, 0, 1]),
        np.full(5, 9),
        numbers,
        -numbers,
    )


def test_layers_are_cut_out_and_put_together_again() -> None:
    whole = made()
    low, top = whole.of("low"), whole.of("top")
    assert (low.layers, low.rules, len(low.channels)) == (("low",), ("deconvnet",), 3)
    assert (top.own_rules("top"), top.layer_index.tolist()) == ("guided", [0, 0])
    again = merged([low, top])
    assert (again.layers, again.rules, again.methods) == (whole.layers, whole.rules, whole.methods)
    for name in ("layer_index", "channels", "ranks", "n_squares", "correlations", "partial"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_values_are_averaged_over_the_hits_of_each_map() -> None:
    whole = made()
    np.testing.assert_array_equal(whole.by_map("low", whole.correlations), [[1, 2], [4, 5]])
    # a value that is missing is left out
    np.testing.assert_array_equal(whole.by_map("top", whole.correlations), [[7, 7]])
    assert whole.hits_of("top").tolist() == [False, False, False, True, True]


def test_hits_are_chosen_by_layer_and_counted(planted: Planted) -> None:
    atlas, *_ = planted
    chosen = subjects_of(atlas, None, ForetellingConfig(hits=4))
    assert [[len(own) for own in maps] for maps in chosen.values()] == [[4, 4]]
    assert count_subjects(chosen) == 8
    seen: list[tuple[str, int, int]] = []
    count_of(chosen, "foretelling", lambda *own: seen.append(own)).add(3)
    assert seen[-1] == ("foretelling", 3, 8)
    with pytest.raises(UnknownLayerError):
        subjects_of(atlas, "none", ForetellingConfig())


def test_nothing_to_study_is_one_line() -> None:
    with pytest.raises(
        BadInputError, match="none of the layers has a hit to study; build the atlas with more maps"
    ):
        count_of({"relu": [[]]}, "foretelling", None)
