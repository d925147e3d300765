"""The images that an atlas lists."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import backlight
from atlas.files import make_network
from fuzz.walking import without_type_checks


def test_an_atlas_opened_while_a_build_runs_shows_what_is_there_by_then(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", 16)
    path, opened = tmp_path / "a.atlas", {}

    def look(phase: str, done: int, _: int) -> None:
        opened.setdefault(phase, backlight.open_atlas(path))
        counts.append([len(atlas.images) for atlas in opened.values()])
        assert all(len(list(atlas.images)) == len(atlas.images) for atlas in opened.values())

    counts: list[list[int]] = []
    asked = {"layers": ["relu1"], "top": 2, "batch_size": 16, "compile": "off", "maps": [0, 1]}
    with without_type_checks():
        whole = backlight.build(make_network(), picture_folder, path, **asked, progress=look)
    assert counts[:3] == [[16], [32], [40]]
    assert counts[-1] == [40, 40]
    for atlas in opened.values():
        assert atlas["relu1"][0] == whole["relu1"][0]
        assert atlas["relu1"][0].hits[0].patch == whole["relu1"][0].hits[0].patch
