"""Export: the files are the site's, and nothing of anybody else's is touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from backlight.atlas import Atlas
from backlight.errors import BadInputError, StorageError
from backlight.web import export, exporting
from backlight.web.site import Site
from fuzz.tiny import tiny_diagnosis, tiny_evolution


@pytest.mark.parametrize("is_compared", [False, True])
def test_an_export_holds_every_address(
    atlas: Atlas, beside: Atlas, tmp_path: Path, is_compared: bool
) -> None:
    reports: list[tuple[str, int, int]] = []
    other = beside if is_compared else None
    found = export(atlas, tmp_path / "site", beside=other, progress=lambda *report: reports.append(report))
    site = Site(atlas, other)
    written = {
        str(path.relative_to(tmp_path / "site")): path.read_bytes()
        for path in (tmp_path / "site").rglob("*")
        if path.is_file() and path.name != exporting.MANIFEST
    }
    answers = {path: site.answer(path) for path in site.paths}
    assert written == {path: answer.content for path, answer in answers.items() if answer is not None}
    assert found.n_files == len(written)
    assert found.n_bytes == sum(map(len, written.values()))
    assert found.index == tmp_path / "site" / "index.html"
    assert reports == [("export", i + 1, len(written)) for i in range(len(written))]


def test_what_several_processes_make_is_the_same(
    atlas: Atlas, beside: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"evolution": tiny_evolution(), "diagnosis": tiny_diagnosis()}
    monkeypatch.setattr(exporting, "_n_cores", lambda: 1)
    export(atlas, tmp_path / "one", beside=beside, **more)
    monkeypatch.setattr(exporting, "_FEW", 0)
    monkeypatch.setattr(exporting, "_n_cores", lambda: 2)
    export(atlas, tmp_path / "two", beside=beside, **more)
    one, two = (
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    )
    assert one == two
    assert {name.rpartition(".")[2] for name in one} == {"html", "json", "js", "css", "webp"}


def test_an_earlier_export_is_replaced_and_what_it_had_more_is_removed(atlas: Atlas, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    export(atlas, folder)
    manifest = folder / exporting.MANIFEST
    known = json.loads(manifest.read_text())
    (folder / "layer-old.html").write_text("old")
    (folder / "mine.txt").write_text("mine")
    (tmp_path / "beside.txt").write_text("beside")
    manifest.write_text(json.dumps(known | {"files": [*known["files"], "layer-old.html", "../beside.txt"]}))
    export(atlas, folder)
    assert not (folder / "layer-old.html").exists()
    assert (folder / "mine.txt").read_text() == "mine"
    assert (tmp_path / "beside.txt").read_text() == "beside"
    assert json.loads(manifest.read_text()) == known


def test_a_folder_with_other_files_is_refused(atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(BadInputError, match="holds other files; export into a new folder"):
        export(atlas, tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_is_said(atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="cannot write"):
        export(atlas, tmp_path / "locked" / "site")


def test_a_file_in_the_place_of_the_folder_is_said(atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="cannot write"):
        export(atlas, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
