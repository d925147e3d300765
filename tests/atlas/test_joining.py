"""Joining: what was known of an atlas stays, what is damaged is not copied, and what a kill has left is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.files import (
    EVIDENCE,
    damage,
    make_network,
)
from backlight import extend, open_atlas
from backlight.atlas import keep_evidence, keep_origin
from backlight.errors import DamagedAtlasError


def test_evidence_and_origin_stay(path: Path, pictures: Path) -> None:
    keep_evidence(path, "relu2", EVIDENCE, {0: EVIDENCE})
    keep_origin(path, {"model": "m.py:make", "weights": None, "images": "pictures"})
    grown = extend(make_network(), pictures, path, ["relu1", "relu2", "fc"], maps=8)
    assert grown["relu2"].evidence == EVIDENCE
    assert grown["relu2"][0].evidence == EVIDENCE
    assert grown["fc"].evidence is None
    assert [own.stability for own in grown["fc"].values() if not own.dead] != []
    assert grown.origin["model"] == "m.py:make"


def test_a_damaged_atlas_does_not_grow(path: Path, pictures: Path) -> None:
    damage(path, "UPDATE hit SET patch = x'00' WHERE layer_id = 1 AND rank = 0")
    before = path.read_bytes()
    with pytest.raises(DamagedAtlasError, match="table hit"):
        extend(make_network(), pictures, path, maps=5)
    assert path.read_bytes() == before


def test_what_a_killed_run_has_left_is_removed(path: Path, tmp_path: Path, pictures: Path) -> None:
    for name in ("small.atlas.joined", "small.atlas.joined-journal", ".small.atlas.0123abcd.new.atlas"):
        (tmp_path / name).write_bytes(b"half")
    path.chmod(0o640)
    extend(make_network(), pictures, path, maps=4).close()
    assert sorted(own.name for own in tmp_path.iterdir()) == ["pictures", "small.atlas"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_readers_keep_what_they_have_opened(path: Path, pictures: Path) -> None:
    before = open_atlas(path)
    extend(make_network(), pictures, path, maps=4).close()
    assert [len(layer.channels) for layer in before.layers] == [3, 3]
    assert before["relu2"][before["relu2"].channels[0]].hits[0].projection_values.any()
    assert [len(layer.channels) for layer in open_atlas(path).layers] == [4, 4]
