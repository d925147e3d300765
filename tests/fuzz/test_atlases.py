"""A few of what `fuzz.atlases` tries: any atlas is read as it was written or refused, and starts nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.atlases import corrupted
from fuzz.mutations import change, changes
from fuzz.tiny import make_old_atlas, make_tiny_atlas
from fuzz.walking import outcome

# One of each kind of harm that was once found; the rest is drawn.
_KNOWN = (
    "hit a view without end",
    "hit with a trigger",
    "layer.name long",
    "layer.description receptive_field.rows.1 fraction",
    "layer.description receptive_field.rows.1 by zero",
    "meta.value plan.top million",
    "meta.value plan.layers deep",
    "hit.patch EPS",
    "hit.projection a bomb",
    "filters too large",
    "filters pickled",
    "two tables in one page",
)
_OF_FORMAT_3 = (
    "band.patch EPS",
    "band.projection a bomb",
    "band.value infinite",
    "picture another size",
    "activation a bomb",
    "activation with more behind it",
    "another view",
    "no view",
    "the format before",
)


@pytest.mark.parametrize("make", [make_tiny_atlas, make_old_atlas])
def test_hostile_atlases_are_refused(tmp_path: Path, make: object) -> None:
    base, path = tmp_path / "base.atlas", tmp_path / "hostile.atlas"
    make(base)  # type: ignore[operator]
    every = dict(changes(base))
    for name in _KNOWN:
        path.write_bytes(base.read_bytes())
        assert change(path, every[name]), name
        assert outcome(path) == "refused", name


def test_hostile_atlases_with_bands_and_whole_pictures_are_refused(tmp_path: Path) -> None:
    base, path = tmp_path / "base.atlas", tmp_path / "hostile.atlas"
    make_tiny_atlas(base)
    every = dict(changes(base))
    for name in _OF_FORMAT_3:
        path.write_bytes(base.read_bytes())
        assert change(path, every[name]), name
        assert outcome(path) == "refused", name


def test_hostile_atlases_drawn_at_random_start_nothing_and_end(tmp_path: Path) -> None:
    base, path = tmp_path / "base.atlas", tmp_path / "hostile.atlas"
    make_tiny_atlas(base)
    every = dict(changes(base))
    for name in random.Random(0).sample(sorted(every), 5):
        path.write_bytes(base.read_bytes())
        if change(path, every[name]):
            assert outcome(path).startswith(("refused", "same ")), name


def test_a_changed_byte_is_never_silent(tmp_path: Path) -> None:
    found = list(corrupted(tmp_path, 6, seed=0))
    assert {what for _, what in found} <= {"same", "refused"}, found
    assert "refused" in {what for _, what in found}
