"""Growing an atlas: what is added equals what would have been built at once, and what was there stays as it is."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch

import backlight
from atlas.files import (
    make_earlier,
    make_network,
    rows,
)
from atlas.grown import ASKED, assert_same_pictures, phases
from backlight import GUIDED, Atlas, build, extend, open_atlas
from backlight.atlas import growth, plan_build, verify
from backlight.atlas.building import execute, plan_extension
from backlight.engines.local import LocalEngine
from backlight.errors import AtlasError, BadInputError, DamagedAtlasError
from backlight.images.sources import FileSource
from conftest import captured_small_net, make_pictures


def test_an_atlas_that_has_grown_has_the_rows_of_one_that_was_built_at_once(
    path: Path, tmp_path: Path, pictures: Path
) -> None:
    extend(make_network(), pictures, path, ["relu2", "fc"], maps=5).close()
    maps = {"relu1": 3, "relu2": 5, "fc": 5}
    whole = tmp_path / "whole.atlas"
    build(make_network(), pictures, whole, ["relu1", "relu2", "fc"], maps=maps, bands=True, **ASKED).close()
    assert rows(path) == rows(whole)
    assert verify(path).is_sound


@pytest.mark.filterwarnings("ignore:1 of 21 pictures could not be read")
def test_a_picture_that_cannot_be_read_stays_left_out(tmp_path: Path, pictures: Path) -> None:
    (pictures / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff cut off")
    path, whole, net = tmp_path / "a.atlas", tmp_path / "whole.atlas", make_network()
    build(net, pictures, path, "relu2", maps=3, **ASKED).close()
    extend(net, pictures, path, ["relu2", "fc"], maps=5).close()
    build(net, pictures, whole, ["relu2", "fc"], maps=5, **ASKED).close()
    assert rows(path) == rows(whole)
    assert [own.path for own in open_atlas(path).skipped] == ["a/bad.jpg"]


def test_more_maps_need_no_scan_and_new_layers_do(path: Path, pictures: Path) -> None:
    more = phases(lambda **own: extend(make_network(), pictures, path, maps=5, **own))
    assert more == {"certify", "project", "band", "light", "join"}
    assert "scan" in phases(lambda **own: extend(make_network(), pictures, path, "fc", maps=2, **own))
    assert [len(layer.channels) for layer in open_atlas(path).layers] == [5, 5, 2]


def test_a_build_of_more_goes_on_from_a_finished_atlas(path: Path, tmp_path: Path, pictures: Path) -> None:
    net, names = make_network(), ["relu1", "relu2"]
    steps = phases(lambda **own: build(net, pictures, path, names, maps=5, bands=True, **ASKED, **own))
    assert "scan" not in steps
    whole = tmp_path / "whole.atlas"
    build(net, pictures, whole, names, maps=5, bands=True, **ASKED).close()
    assert rows(path) == rows(whole)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"layers": ["relu1"], "maps": 5}, "choice of layers, maps or top"),
        ({"maps": 5, "top": 3}, "choice of layers, maps or top"),
        ({"maps": 5, "rules": GUIDED}, "rule set"),
    ],
)
def test_a_build_of_something_else_is_refused(
    asked: dict[str, object], what: str, path: Path, pictures: Path
) -> None:
    before = path.read_bytes()
    options = {"layers": ["relu1", "relu2"], "bands": True, **ASKED, **asked}
    with pytest.raises(AtlasError, match=f"was begun with another .*{what}"):
        build(make_network(), pictures, path, **options)
    assert path.read_bytes() == before


def test_what_is_there_already_is_not_touched(path: Path, pictures: Path) -> None:
    before = path.read_bytes()
    assert phases(lambda **own: extend(make_network(), pictures, path, maps=2, **own)) == set()
    assert path.read_bytes() == before


def test_a_build_of_less_finds_all_that_it_asks_for(path: Path, tmp_path: Path, pictures: Path) -> None:
    before, net = path.read_bytes(), make_network()
    for asked in ({"layers": "relu2", "maps": 3}, {"layers": ["relu1", "relu2"], "maps": 2}):
        assert phases(lambda asked=asked, **own: build(net, pictures, path, **asked, **ASKED, **own)) == set()
        assert path.read_bytes() == before
    part = tmp_path / "part.atlas"

    def stop(phase: str, *_: int) -> None:
        if phase == "project":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(net, pictures, part, ["relu1", "relu2"], maps=3, **ASKED, progress=stop)
    build(net, pictures, part, "relu2", maps=2, **ASKED).close()  # which finishes what was begun
    whole = build(net, pictures, tmp_path / "whole.atlas", ["relu1", "relu2"], maps=3, **ASKED)
    whole.close()
    assert rows(part) == rows(tmp_path / "whole.atlas")


def test_an_unfinished_atlas_is_finished_first(tmp_path: Path, pictures: Path) -> None:
    path, net = tmp_path / "a.atlas", make_network()

    def stop(phase: str, *_: int) -> None:
        if phase == "project":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(net, pictures, path, "relu2", maps=2, **ASKED, progress=stop)
    build(net, pictures, path, "relu2", maps=4, **ASKED).close()
    build(net, pictures, tmp_path / "whole.atlas", "relu2", maps=4, **ASKED).close()
    assert rows(path) == rows(tmp_path / "whole.atlas")


@pytest.mark.parametrize("stopped_in", ["certify", "project", "band", "light", "join"])
def test_an_extension_resumes_and_until_it_is_done_the_atlas_is_as_it_was(
    stopped_in: str, path: Path, tmp_path: Path, pictures: Path
) -> None:
    before = path.read_bytes()

    def stop(phase: str, *_: int) -> None:
        if phase == stopped_in:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extend(make_network(), pictures, path, maps=5, progress=stop)
    assert path.read_bytes() == before
    assert [own.name for own in tmp_path.glob("*.more")] == ["small.atlas.more"]
    extend(make_network(), pictures, path, maps=5).close()
    whole = tmp_path / "whole.atlas"
    build(make_network(), pictures, whole, ["relu1", "relu2"], maps=5, bands=True, **ASKED).close()
    assert rows(path) == rows(whole)
    assert sorted(own.name for own in tmp_path.iterdir()) == ["pictures", "small.atlas", "whole.atlas"]


def test_the_file_of_another_extension_is_named(path: Path, pictures: Path) -> None:
    def stop(phase: str, *_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extend(make_network(), pictures, path, maps=5, progress=stop)
    with pytest.raises(
        AtlasError, match=r"lies in '.*small\.atlas\.more'.* ask for the same as then, or delete"
    ):
        extend(make_network(), pictures, path, maps=6)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_an_atlas_of_an_earlier_version_grows_by_a_scan(
    version: int, path: Path, tmp_path: Path, pictures: Path
) -> None:
    make_earlier(path, version)
    bands = version >= 3
    net = make_network()
    steps = phases(lambda **own: extend(net, pictures, path, maps=5, **own))
    assert "scan" in steps
    assert ("band" in steps) == bands
    whole = tmp_path / "whole.atlas"
    build(net, pictures, whole, ["relu1", "relu2"], maps=5, bands=bands, **ASKED).close()
    grown, fresh = open_atlas(path), open_atlas(whole)
    assert_same_pictures(grown, fresh)
    added = set(grown["relu2"].channels) - {*build_of_three(net, pictures, tmp_path)["relu2"].channels}
    certain = {c: grown["relu2"][c].n_certain for c in grown["relu2"].channels}
    assert {c for c, own in certain.items() if own is not None} == (added if version < 5 else set(certain))
    assert verify(path).is_sound


def build_of_three(net: backlight.Network, pictures: Path, folder: Path) -> Atlas:
    return build(net, pictures, folder / "three.atlas", "relu2", maps=3, **ASKED)


def test_another_network_or_other_images_are_refused(path: Path, tmp_path: Path, pictures: Path) -> None:
    torch.manual_seed(3)
    other = backlight.capture(
        type(captured_small_net.__globals__["SmallNet"]())(), (3, 32, 32), make_network().preprocessing
    )
    with pytest.raises(AtlasError, match="was begun with another model or weights"):
        extend(other, pictures, path, maps=5)
    with pytest.raises(AtlasError, match="was begun with another image set"):
        extend(make_network(), make_pictures(tmp_path / "others", 3), path, maps=5)


def test_new_layers_need_a_number_of_maps(path: Path, pictures: Path) -> None:
    with pytest.raises(BadInputError, match="does not have the layer fc yet, so it must be said how many"):
        extend(make_network(), pictures, path, "fc")


def test_layers_that_a_mapping_does_not_name_keep_their_maps(path: Path, pictures: Path) -> None:
    grown = extend(make_network(), pictures, path, maps={"relu2": None})
    assert [len(layer.channels) for layer in grown.layers] == [3, 12]


def test_a_scan_that_is_not_of_the_layers_is_refused(path: Path, pictures: Path) -> None:
    from backlight.atlas.schema import writing
    from backlight.scan import Scan
    from backlight.storage.arrays import packed

    net = make_network()
    other = Scan.empty([net.layer("relu1"), net.layer("relu1")], 7)
    with writing(path) as connection:
        state = Scan({"relu1": other.layers["relu1"], "relu2": other.layers["relu1"]}).to_arrays()
        connection.execute("UPDATE scan_state SET arrays = ?", (packed(state),))
    with pytest.raises(DamagedAtlasError, match="it is not one of the 12 maps of relu2"):
        extend(net, pictures, path, maps=5)


def test_what_is_added_is_said_in_words(path: Path, pictures: Path) -> None:
    net = make_network()
    plan = plan_extension(net, pictures, path, ["relu2", "fc"], maps=5)
    found = growth(plan, path, GUIDED)
    assert str(found) == ("6 feature maps there, 7 added, 1 layer to scan, 13 to project by guided")
    assert growth(plan_extension(net, pictures, path), path) is None
    assert growth(plan_build(net, pictures, ["relu1"]), path.with_name("none.atlas")) is None


def test_execute_builds_what_is_not_there_and_projects_it_by_further_rules(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    scan = LocalEngine.scan
    monkeypatch.setattr(LocalEngine, "scan", lambda *own: seen.append(len(own[2])) or scan(*own))
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", 8)
    plan = plan_build(make_network(), pictures, "relu2", maps=2, **ASKED)
    found = execute(plan, tmp_path / "a.atlas", rules=GUIDED)
    assert found.rule_sets == ("deconvnet", "guided")
    assert seen == [3]


def test_what_an_atlas_is_of_is_read_once_however_much_is_added(
    path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    for kind in (backlight.Network, FileSource):
        own = kind.fingerprint
        monkeypatch.setattr(kind, "fingerprint", lambda self, own=own: read.append(type(self)) or own(self))
    extend(make_network(), pictures, path, ["relu2", "fc"], GUIDED, maps=5).close()
    assert sorted(kind.__name__ for kind in read) == ["FileSource", "Network"]
