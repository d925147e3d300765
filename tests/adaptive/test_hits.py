"""Hits: which maps a search takes, and what it found in a layer."""

from __future__ import annotations

from backlight.adaptive import PRESETS, HitSearch


def test_the_draw_of_maps_knows_the_seed_and_the_layer_alone() -> None:
    config = PRESETS["paper"]
    drawn = HitSearch(maps=16).channels(config, 2)
    assert drawn == HitSearch(layers=(2,), maps=16, top=1).channels(config, 2)
    assert list(drawn) == sorted(set(drawn))
    assert len(drawn) == 16
    assert HitSearch(maps=16, seed=1).channels(config, 2) != drawn
    assert HitSearch(maps=99).channels(config, 1) == tuple(range(15))
    assert HitSearch(maps=(4, 1, 4)).channels(config, 1) == (1, 4)
