"""Hits: which maps a search takes, and what it found in a layer."""

from __future__ import annotations

import pytest

from backlight.adaptive import PRESETS, FoundHits, HitSearch, MapHits
from backlight.errors import BadInputError


def test_the_draw_of_maps_knows_the_seed_and_the_layer_alone() -> None:
    config = PRESETS["paper"]
    drawn = HitSearch(maps=16).channels(config, 2)
    assert drawn == HitSearch(layers=(2,), maps=16, top=1).channels(config, 2)
    assert list(drawn) == sorted(set(drawn))
    assert len(drawn) == 16
    assert HitSearch(maps=16, seed=1).channels(config, 2) != drawn
    assert HitSearch(maps=99).channels(config, 1) == tuple(range(15))
    assert HitSearch(maps=(4, 1, 4)).channels(config, 1) == (1, 4)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"top": 0}, "must be at least 1 and the seed at least 0, got 0, 16, 1 and 0"),
        ({"batch": 0}, "got 9, 0, 1 and 0"),
        ({"maps": -2}, "got 9, 16, -2 and 0"),
        ({"seed": -1}, "got 9, 16, 1 and -1"),
        ({"layers": ()}, "needs at least 1 layer and 1 map, got none; None searches all"),
        ({"maps": ()}, "needs at least 1 layer and 1 map, got none; None searches all"),
    ],
    ids=str,
)
def test_what_is_no_search_is_refused(wanted: dict[str, object], text: str) -> None:
    with pytest.raises(BadInputError, match=text):
        HitSearch(**wanted)  # type: ignore[arg-type]


def test_maps_that_a_layer_has_not_are_refused() -> None:
    config = PRESETS["small"]
    assert HitSearch().channels(config, 2) == tuple(range(24))
    assert HitSearch(maps=(23,)).channels(config, 2) == (23,)
    for channel in (9, -1):
        with pytest.raises(
            BadInputError, match=rf"map {channel} is out of range for layer 1 \(9 feature maps"
        ):
            HitSearch(maps=(0, channel)).channels(config, 1)
    with pytest.raises(BadInputError, match="layer 3 is out of range for a network of 2 layers, from 1"):
        HitSearch().channels(config, 3)


def test_what_was_found_is_given_layer_by_layer() -> None:
    maps = tuple(MapHits(layer, channel, ()) for layer, channel in ((1, 0), (3, 2), (3, 4)))
    found = FoundHits(maps, HitSearch(), (8, 8), 5, ())
    assert found.of(3) == maps[1:]
    assert found.of(1) == maps[:1]
    with pytest.raises(BadInputError, match="layers 1, 3 were searched, but layer 2 was asked for"):
        found.of(2)
