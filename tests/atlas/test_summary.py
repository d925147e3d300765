"""What an atlas is, in numbers: a finished one, and one whose build stopped in each of its phases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atlas.files import stop_build_in
from backlight import open_atlas
from backlight.atlas import layer_summary, summarise
from conftest import make_pictures
from fuzz.tiny import make_old_atlas


def test_a_finished_atlas(tiny: Path) -> None:
    atlas = open_atlas(tiny)
    found = summarise(atlas)
    assert (found.network, found.input_shape) == (atlas.model.name, (3, 12, 12))
    assert (found.n_images, found.n_read, found.n_skipped) == (6, 5, 1)
    assert (found.n_layers, found.n_maps, found.n_shown, found.top) == (3, 7, 6, 2)
    assert (found.rules, found.other_rules) == ("deconvnet", ("guided",))
    assert (found.wholes, found.bands) == (True, True)
    assert found.studies == {"faithfulness": 1}
    assert (found.phase, found.is_done, found.missing, found.holder) == ("done", True, None, None)
    assert (found.format_version, found.has_checksums, found.n_bytes) == (6, True, tiny.stat().st_size)
    assert found.built_from == {"model": "demo", "images": "pictures", "weights": None}


def test_an_atlas_of_the_first_format(tmp_path: Path) -> None:
    make_old_atlas(tmp_path / "old.atlas")
    found = summarise(open_atlas(tmp_path / "old.atlas"))
    assert (found.format_version, found.has_checksums, found.wholes, found.bands) == (1, False, False, False)
    assert found.is_done


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("phase", "missing"),
    [
        ("scan", r"8 of 20 images scanned"),
        ("certify", r"all images scanned, .* not settled yet"),
        ("project", r"\d+ of 16 hits projected"),
        ("band", r"\d+ of \d+ examples of bands projected"),
        ("light", r"all hits projected, .* not kept whole yet"),
    ],
)
def test_an_unfinished_atlas_says_what_is_missing(tmp_path: Path, phase: str, missing: str) -> None:
    path = tmp_path / "a.atlas"
    stop_build_in(path, make_pictures(tmp_path / "p", 20), phase)
    found = summarise(open_atlas(path))
    assert found.phase == phase
    assert not found.is_done
    assert found.missing is not None
    assert re.fullmatch(missing, found.missing)
    assert not found.wholes


def test_what_is_said_of_a_layer(tiny: Path) -> None:
    atlas = open_atlas(tiny)
    first, second, last = map(layer_summary, atlas.layers)
    assert first == {
        "name": "1", "operator": "relu", "shape": (2, 12, 12), "rectified": True, "receptive_field": "3x3 every 1",
        "shown": (0, 1), "rules": "deconvnet", "other_rules": [], "studies": [],
    }  # fmt: skip
    assert second["studies"] == ["faithfulness"]
    assert last["receptive_field"] == "whole image"
