"""Writing an atlas: only a build of the same identity goes on with it, a whole step at a time."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import backlight
from atlas.files import damage, make_earlier, make_network, rows
from backlight import DECONVNET, GUIDED, Network, Preprocessing, build, capture, open_atlas, plan_build
from backlight.atlas.building import execute
from backlight.atlas.schema import connect_for_writing, writing
from backlight.atlas.writer import AtlasWriter, check_identity
from backlight.engines.identity import AtlasIdentity
from backlight.engines.plan import Plan, Settings, Shard
from backlight.engines.work import Partial
from backlight.errors import AtlasError, DamagedAtlasError, StorageError
from backlight.images import open_images
from backlight.operators.ruleset import RuleSet, parse_rules
from backlight.scan import HalvedHits
from backlight.storage.arrays import read_npz
from conftest import SmallNet
from engines.plans import scan_shard


def identity(rules):
    return AtlasIdentity.from_dict(
        {
            "images": {"name": "photos", "n": 1, "fingerprint": "1"},
            "model": {"name": "Net", "input_shape": [3, 8, 8], "fingerprint": "2"},
            "preprocessing": Preprocessing.default(3, 8).to_dict(),
            "plan": {"top": 1, "layers": {"relu": [0]}},
            "rules": rules,
        }
    )


def as_stored_under(name, text):
    return parse_rules(text).to_dict() | {"name": name}


def test_a_build_goes_on_under_another_spelling_of_its_rules() -> None:
    stored = as_stored_under("deconvnet, average-pool = transpose", "deconvnet,average-pool=transpose")
    asked = parse_rules("deconvnet,average_pool=transpose").to_dict()
    check_identity("a.atlas", identity(stored), identity(asked))
    by_layer = {"name": "one and two", "layers": {"name": stored, "relu": GUIDED.to_dict()}}
    respelled = {"name": "two", "layers": {"name": asked, "relu": RuleSet("mine", "guided").to_dict()}}
    check_identity("a.atlas", identity(by_layer), identity(respelled))


@pytest.mark.parametrize("text", ["deconvnet", "deconvnet,average_pool=transpose,gates=vjp"])
def test_a_build_does_not_go_on_under_other_rules_of_the_same_name(text: str) -> None:
    stored = as_stored_under("mine", "deconvnet,average_pool=transpose")
    asked = as_stored_under("mine", text)
    for kept, given in (
        (stored, asked),
        ({"name": "mine", "layers": {"relu": stored}}, {"name": "mine", "layers": {"relu": asked}}),
    ):
        with pytest.raises(AtlasError, match="another rule set"):
            check_identity("a.atlas", identity(kept), identity(given))


def _other_weights() -> Network:
    torch.manual_seed(1)
    return capture(SmallNet(), (3, 32, 32), Preprocessing.default(3, 32))


def _other_preprocessing() -> Network:
    torch.manual_seed(0)
    return capture(SmallNet(), (3, 32, 32), Preprocessing(32, (32, 32), (0.5,) * 3, (0.5,) * 3))


@pytest.mark.parametrize(
    ("network", "options", "what"),
    [
        (_other_weights, {}, "another model or weights;"),
        (_other_preprocessing, {}, "another preprocessing;"),
        (make_network, {"rules": GUIDED}, "another rule set;"),
        (make_network, {"top": 3}, "another choice of layers, maps or top;"),
        (_other_weights, {"rules": GUIDED}, "another model or weights and another rule set;"),
    ],
)
def test_a_resume_with_something_else_is_refused(atlas, picture_folder, network, options, what) -> None:  # type: ignore[no-untyped-def]
    before = rows(atlas.path)
    asked = {"layers": ["relu1", "relu2", "fc"], "top": 4, "rules": DECONVNET} | options
    with pytest.raises(AtlasError, match=f"was begun with {what}"):
        build(network(), picture_folder, atlas.path, **asked)
    assert rows(atlas.path) == before


def test_a_resume_with_other_images_is_refused(atlas: backlight.Atlas, picture_folder: Path) -> None:
    Image.new("RGB", (40, 40)).save(picture_folder / "a" / "new.png")
    with pytest.raises(AtlasError, match="another image set"):
        build(make_network(), picture_folder, atlas.path, ["relu1", "relu2", "fc"], top=4)


@pytest.mark.parametrize("kept", [False, True])
def test_a_resumed_build_computes_as_it_was_begun(tmp_path: Path, picture_folder: Path, kept: bool) -> None:
    plan, path = plan_build(make_network(), picture_folder, ["relu1"], top=1), tmp_path / "a.atlas"
    begun = replace(plan.settings, batch_size=7, threads=3, compiled=kept)
    writer = AtlasWriter(path, plan.with_settings(begun))
    state, _ = writer.load_scan()
    writer.save_scan(state, 0, Partial(Shard(0, 0), state, {}, kept))
    writer.close()
    for falls_back in (False, True):
        other = Settings(32, 1, not kept, falls_back)
        resumed = AtlasWriter(path, plan.with_settings(other))
        assert resumed.plan.settings == replace(begun, falls_back=falls_back)
        resumed.close()


def test_of_two_builds_without_locks_the_later_step_is_refused_and_leaves_no_row(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "backlight.atlas.schema.locked", lambda path: nullcontext()
    )  # a file system without them
    net, source, path = make_network(), open_images(picture_folder), tmp_path / "a.atlas"
    plan = plan_build(net, source, ["relu1"], top=1)
    loser = AtlasWriter(path, plan)
    state, _ = loser.load_scan()
    build(net, source, path, ["relu1"], top=1)
    before = rows(path)
    steps: list[Callable[[], None]] = [
        lambda: loser.save_scan(state, 4, Partial(Shard(0, 8), state, {}, False)),
        lambda: loser.finish_scan(state),
        lambda: loser.write_tiles([]),
        lambda: loser.write_filters(0, np.zeros((8, 1, 1, 1), np.float32), 1, True),
        lambda: loser.finish("project"),
    ]
    for step in steps:
        with pytest.raises(
            StorageError, match=r"another process is building '.*a\.atlas' at the same time; let that"
        ):
            step()
    loser.close()
    assert rows(path) == before


def test_a_full_disk_is_said_in_one_line_and_what_was_built_is_kept(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "full.atlas", tmp_path / "whole.atlas"
    options = {"layers": ["relu1", "relu2"], "top": 4, "batch_size": 4}
    build(make_network(), picture_folder, whole, **options)

    def connect_on_a_small_disk(path: Path) -> sqlite3.Connection:
        connection = connect_for_writing(path)
        connection.execute("PRAGMA max_page_count = 32")  # SQLite then reports a full disk
        return connection

    monkeypatch.setattr("backlight.atlas.writer.connect_for_writing", connect_on_a_small_disk)
    with pytest.raises(
        StorageError, match="no space is left on the disk; free some and rerun the same command"
    ):
        build(make_network(), picture_folder, path, **options)
    assert open_atlas(path).phase in ("scan", "project")
    monkeypatch.undo()
    build(make_network(), picture_folder, path, **options)
    assert rows(path) == rows(whole)


def test_a_build_does_not_go_on_from_damaged_rows(tmp_path: Path, picture_folder: Path) -> None:
    path = tmp_path / "part.atlas"

    def stop(phase: str, *_: int) -> None:
        if phase == "project":
            raise KeyboardInterrupt

    asked = {"layers": ["relu2"], "top": 2, "batch_size": 32, "compile": "off"}
    with pytest.raises(KeyboardInterrupt):
        backlight.build(make_network(), picture_folder, path, **asked, progress=stop)
    damage(path, "UPDATE hit SET image_id = image_id + 1 WHERE channel = 5")
    with pytest.raises(DamagedAtlasError, match=r"table feature_map and hit \(layer_id 0, channel 5\)"):
        backlight.build(make_network(), picture_folder, path, **asked)


def test_a_scan_whose_state_cannot_be_read_is_not_resumed(tmp_path: Path, picture_folder: Path) -> None:
    plan, path = plan_build(make_network(), picture_folder, ["relu1"], top=1), tmp_path / "a.atlas"
    writer = AtlasWriter(path, plan)
    state, n_done = writer.load_scan()
    assert (state.n_images, n_done) == (0, 0)
    writer.save_scan(state, 8, Partial(Shard(0, 8), state, {}, False))
    assert writer.load_scan()[1] == 8
    writer.close()
    with writing(path) as connection:
        connection.execute("UPDATE scan_state SET arrays = x'00'")
    writer = AtlasWriter(path, plan)
    with pytest.raises(AtlasError, match=r"is damaged \(the state of its scan cannot be read"):
        writer.load_scan()
    writer.close()


# --- how stable the hits are --------------------------------------------------------------------------------


def begin_a_scan(plan: Plan, path: Path, n_done: int) -> None:
    """Write the atlas of a plan as a build leaves it that is killed after so many images."""
    writer = AtlasWriter(path, plan)
    state, _ = writer.load_scan()
    if n_done:
        partial = scan_shard(plan, Shard(0, n_done))
        writer.save_scan(state.merge(partial.scan), n_done, partial)
    writer.close()


def as_before_halves(path: Path) -> None:
    """Change an unfinished scan to what was kept of it before halves of the images were told apart, and bands kept."""
    with writing(path) as connection:
        ((data,),) = connection.execute("SELECT arrays FROM scan_state").fetchall()
        arrays = read_npz(io.BytesIO(data))
        for i in range(sum(name.endswith(".values") for name in arrays)):
            own = HalvedHits.from_arrays(
                {name: arrays[f"{i}.{name}"] for name in ("values", "image_ids", "places")}
            )
            arrays |= {f"{i}.{name}": array for name, array in vars(own.together).items()}
            arrays = {name: array for name, array in arrays.items() if not name.startswith(f"{i}.band")}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        connection.execute("UPDATE scan_state SET arrays = ?", (buffer.getvalue(),))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("n_done", [0, 8, 16])
def test_an_unfinished_atlas_of_an_earlier_version_resumes_to_the_same_hits(
    tmp_path: Path, picture_folder: Path, version: int, n_done: int
) -> None:
    plan = plan_build(make_network(), picture_folder, ["relu2", "fc"], top=4, batch_size=8, compile="off")
    path, whole = tmp_path / "old.atlas", execute(plan, tmp_path / "whole.atlas")
    begin_a_scan(plan, path, n_done)
    if n_done:
        as_before_halves(path)
    make_earlier(path, version)
    if version == 1:
        damage(path, "DROP TABLE evidence", "DROP TABLE study")
    found = execute(plan, path)
    assert backlight.atlas.verify(path).is_sound
    assert all(hit.whole is None and hit.activation_map is None for hit in found["relu2"][0].hits)
    assert all(own.bands == () for layer in found.layers for own in layer.values())
    tables = ("feature_map", "hit", "image")
    assert rows(path, tables) == rows(whole.path, tables)
    stable = {layer: [own.stability for own in found[layer].values()] for layer in found}
    expected = {layer: [own.stability for own in whole[layer].values()] for layer in whole}
    assert any(own is not None for own in expected["relu2"])
    # Of a scan that had not begun, all is known; otherwise the images done are in neither half.
    assert stable == (expected if n_done == 0 else {layer: [None] * len(found[layer]) for layer in found})


def test_a_killed_scan_resumes_to_the_same_halves(tmp_path: Path, picture_folder: Path) -> None:
    plan = plan_build(make_network(), picture_folder, ["relu2"], top=4, batch_size=8, compile="off")
    whole = execute(plan, tmp_path / "whole.atlas").path
    for n_done in (8, 16):
        path = tmp_path / f"{n_done}.atlas"
        begin_a_scan(plan, path, n_done)
        execute(plan, path)
        assert rows(path) == rows(whole)
        assert rows(path)["evidence"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_empty_atlas_of_an_earlier_version_is_built_in_its_format(
    tmp_path: Path, picture_folder: Path, version: int
) -> None:
    path = tmp_path / "a.atlas"
    connect_for_writing(path).close()  # a build that was killed before its first step
    make_earlier(path, version)
    found = build(make_network(), picture_folder, path, ["relu1", "relu2"], top=1, maps=2)
    assert (found["relu1"][found["relu1"].channels[0]].hits[0].whole is None) == (version < 3)
    assert found["relu2"].map_filters is None
    assert backlight.atlas.verify(path).is_sound
