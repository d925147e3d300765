"""The build: what an atlas holds equals what the parts compute (`tests/kills`: killed, it resumes to the same rows)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import backlight
from backlight import (
    DECONVNET,
    GUIDED,
    Network,
    Preprocessing,
    build,
    capture,
    open_atlas,
    plan_build,
    project,
)
from backlight.atlas.schema import writing
from backlight.atlas.writer import AtlasWriter
from backlight.engines.plan import Settings
from backlight.engines.work import Partial
from backlight.errors import AtlasError, BadInputError, StorageError, UnknownLayerError
from backlight.images import open_images
from backlight.storage import locked
from conftest import SmallNet, captured_small_net, make_pictures


def make_network() -> Network:
    return captured_small_net(Preprocessing.default(3, 32))


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(path)
    tables = ["meta", "layer", "feature_map", "hit", "image", "skipped", "filters", "scan_state"]
    content = {t: sorted(connection.execute(f"SELECT * FROM {t}").fetchall(), key=repr) for t in tables}
    connection.close()
    return content


@pytest.fixture
def atlas(tmp_path: Path, picture_folder: Path) -> backlight.Atlas:
    return build(
        make_network(),
        picture_folder,
        tmp_path / "small.atlas",
        ["relu1", "relu2", "fc"],
        top=4,
        batch_size=16,
    )


def test_hits_are_the_strongest_and_their_tiles_are_the_projections(
    atlas: backlight.Atlas, picture_folder: Path
) -> None:
    net, source = make_network(), open_images(picture_folder)
    pictures = [net.preprocessing.picture(source.load(i)) for i in range(len(source))]
    inputs = net.preprocessing.normalise(pictures)
    feature_map = atlas["relu2"][3]
    maxima = backlight.projection.activations(net, inputs, net.layer("relu2"))[:, 3].flatten(1).amax(1)
    assert [h.image_id for h in feature_map.hits] == maxima.argsort(descending=True)[:4].tolist()
    assert feature_map.max == pytest.approx(maxima.max().item())
    assert feature_map.active_share == pytest.approx((maxima > 0).float().mean().item())
    for hit in feature_map.hits:
        assert hit.value == pytest.approx(maxima[hit.image_id].item(), rel=1e-5)
        whole = project(net, inputs[hit.image_id], [backlight.Unit("relu2", 3, hit.row, hit.col)])[0]
        inside = hit.box.clip(32, 32)
        expected = whole.permute(1, 2, 0)[inside.top : inside.bottom, inside.left : inside.right].numpy()
        assert hit.projection_values.shape == expected.shape
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(hit.projection_values, expected, atol=np.abs(expected).max() / 100)
        assert whole.abs().sum().item() == pytest.approx(
            np.abs(expected).sum(), rel=1e-4
        )  # nothing lies outside of the box
        patch = np.asarray(pictures[hit.image_id])[inside.top : inside.bottom, inside.left : inside.right]
        assert np.asarray(hit.patch).shape == patch.shape
        assert np.abs(np.asarray(hit.patch, int) - patch).mean() < 12
        assert source.records[hit.image_id].path == atlas.images[hit.image_id].path
        assert atlas.images[hit.image_id].label in ("a", "b")
        assert atlas.images[hit.image_id].size == (40, 48)


def test_fully_connected_hits_have_no_place_and_show_the_whole_image(atlas: backlight.Atlas) -> None:
    hits = [hit for channel in range(5) for hit in atlas["fc"][channel].hits]
    assert hits
    assert all(hit.row is None and hit.box == backlight.Box(0, 0, 32, 32) for hit in hits)


def test_a_dead_map_has_no_hits_and_says_so(tmp_path: Path, picture_folder: Path) -> None:
    torch.manual_seed(0)
    model = SmallNet()
    with torch.no_grad():
        model.conv2.bias[7] = -1e6
    net = capture(model, (3, 32, 32), Preprocessing.default(3, 32))
    built = build(net, picture_folder, tmp_path / "dead.atlas", ["relu2"])
    assert built["relu2"][7].dead
    assert built["relu2"][7].hits == ()
    assert not built["relu2"][0].dead
    assert built.figure("relu2", [7]).width > 100


def test_maps_are_drawn_by_the_seed_and_know_nothing_of_the_images(
    tmp_path: Path, picture_folder: Path
) -> None:
    other = make_pictures(tmp_path / "other", 3)
    drawn = {
        (seed, images.name): build(
            make_network(),
            images,
            tmp_path / f"{seed}{images.name}.atlas",
            ["relu2"],
            maps=5,
            seed=seed,
            top=1,
        )["relu2"].channels
        for seed in (0, 1)
        for images in (picture_folder, other)
    }
    assert drawn[0, "pictures"] == drawn[0, "other"]
    assert drawn[0, "pictures"] != drawn[1, "pictures"]
    assert len(drawn[0, "pictures"]) == 5


def test_a_finished_atlas_is_left_alone(atlas: backlight.Atlas, picture_folder: Path) -> None:
    before = atlas.path.read_bytes()
    steps: list[str] = []
    build(make_network(), picture_folder, atlas.path, ["relu1", "relu2", "fc"], top=4, batch_size=16,
          progress=lambda phase, *_: steps.append(phase))  # fmt: skip
    assert atlas.path.read_bytes() == before
    assert steps == []


def test_an_unfinished_atlas_can_be_read_and_says_what_is_missing(
    tmp_path: Path, picture_folder: Path
) -> None:
    path = tmp_path / "part.atlas"

    def stop(phase: str, done: int, _: int) -> None:
        if phase == "project" and done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(make_network(), picture_folder, path, ["relu1", "relu2"], top=4, batch_size=16, progress=stop)
    part = open_atlas(path)
    assert part.phase == "project"
    assert part["relu2"][0].hits[0].projection_values.any()  # the deepest layer is projected first
    with pytest.raises(AtlasError, match="is not projected yet; call build again as before"):
        _ = part["relu1"][5].hits[0].projection_values
    with (
        locked(path),
        pytest.raises(
            AtlasError, match=r"not projected yet; a build of it is running \(process \d+\); wait for it"
        ),
    ):
        _ = part["relu1"][5].hits[0].projection_values


def test_a_resumed_scan_runs_compiled_or_not_as_it_was_begun(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", 16)
    path, phases = tmp_path / "a.atlas", set()

    def stop(phase: str, done: int, _: int) -> None:
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(make_network(), picture_folder, path, batch_size=16, compile="off", progress=stop)
    build(make_network(), picture_folder, path, compile="on", progress=lambda phase, *_: phases.add(phase))
    assert phases == {"scan", "project"}
    assert ("compiled", "false") in rows(path)["meta"]


def test_a_resumed_build_runs_on_as_many_threads_as_it_was_begun_and_gives_them_back(
    tmp_path: Path, picture_folder: Path
) -> None:
    path, options = tmp_path / "a.atlas", {"layers": ["relu1"], "top": 1, "batch_size": 16}
    seen: list[int] = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def watch(*_: object) -> None:
        seen.append(torch.get_num_threads())

    torch.set_num_threads(2)
    with pytest.raises(KeyboardInterrupt):
        build(make_network(), picture_folder, path, progress=stop, **options)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    build(make_network(), picture_folder, path, progress=watch, **options)
    assert set(seen) == {2}
    assert torch.get_num_threads() == 1
    assert ("threads", "2") in rows(path)["meta"]


def test_an_atlas_that_knows_no_number_of_threads_takes_todays(
    atlas: backlight.Atlas, picture_folder: Path
) -> None:
    with writing(atlas.path) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'threads'")
        connection.execute("UPDATE meta SET value = '\"project\"' WHERE key = 'phase'")
    built = build(make_network(), picture_folder, atlas.path, ["relu1", "relu2", "fc"], top=4)
    assert built.phase == "done"


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
        lambda: loser.save_scan(state, 4, Partial(state, {}, False)),
        lambda: loser.finish_scan(state),
        lambda: loser.write_tiles([]),
        lambda: loser.write_filters(0, np.zeros((1, 1, 1, 1), np.float32)),
        loser.finish,
    ]
    for step in steps:
        with pytest.raises(
            StorageError, match=r"another process is building '.*a\.atlas' at the same time; let that"
        ):
            step()
    loser.close()
    assert rows(path) == before


def test_a_second_build_of_a_file_is_refused_before_any_work(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backlight.storage.locking.PATIENCE_S", 0.0)
    net, path, raised = make_network(), tmp_path / "a.atlas", []

    def second(*_: object) -> None:
        with ThreadPoolExecutor(1) as pool:
            raised.append(str(pool.submit(build, net, picture_folder, path, ["relu1"], 1).exception()))

    build(net, picture_folder, path, ["relu1"], top=1, progress=second)
    assert "a.atlas' is being written by process" in raised[0]
    assert [own.name for own in tmp_path.iterdir() if own.is_file()] == ["a.atlas"]


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
        (make_network, {"layers": ["relu1"]}, "another choice of layers, maps or top;"),
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


def test_a_moved_image_set_may_go_on(atlas: backlight.Atlas, picture_folder: Path, tmp_path: Path) -> None:
    moved = picture_folder.rename(tmp_path / "moved")
    assert build(make_network(), moved, atlas.path, ["relu1", "relu2", "fc"], top=4).phase == "done"


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file", b"x" * 9000, b"SQLite format 3\0" + bytes(90)]
)
def test_a_file_that_is_no_atlas_is_left_as_it_is(
    tmp_path: Path, picture_folder: Path, content: bytes
) -> None:
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    with pytest.raises(AtlasError, match="exists and is not an atlas; it was not changed"):
        build(make_network(), picture_folder, path)
    assert path.read_bytes() == content
    assert list(tmp_path.glob("thesis*")) == [path]
    with pytest.raises(AtlasError, match="is not an atlas"):
        open_atlas(path)


def test_a_full_disk_is_said_in_one_line_and_what_was_built_is_kept(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "full.atlas", tmp_path / "whole.atlas"
    options = {"layers": ["relu1", "relu2"], "top": 4, "batch_size": 4}
    build(make_network(), picture_folder, whole, **options)
    begin = AtlasWriter.__init__

    def begin_on_a_small_disk(self, *args) -> None:  # type: ignore[no-untyped-def]
        begin(self, *args)
        self._connection.execute("PRAGMA max_page_count = 20")  # SQLite then reports a full disk

    monkeypatch.setattr(AtlasWriter, "__init__", begin_on_a_small_disk)
    with pytest.raises(
        StorageError, match="no space is left on the disk; free some and rerun the same command"
    ):
        build(make_network(), picture_folder, path, **options)
    assert open_atlas(path).phase in ("scan", "project")
    monkeypatch.undo()
    build(make_network(), picture_folder, path, **options)
    assert rows(path) == rows(whole)


def test_a_bad_picture_never_ends_a_run(tmp_path: Path, picture_folder: Path) -> None:
    (picture_folder / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff truncated")
    built = build(make_network(), picture_folder, tmp_path / "bad.atlas", ["relu2"])
    assert built.n_scanned == 40
    assert [s.path for s in built.skipped] == ["a/bad.jpg"]
    assert built.skipped[0].reason


def test_readers_cannot_write(atlas: backlight.Atlas) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        atlas.file.connection.execute("DELETE FROM hit")


def test_unknown_layers_and_channels_are_named(atlas: backlight.Atlas) -> None:
    with pytest.raises(UnknownLayerError, match="no layer 'conv9'; it has relu1, relu2, fc"):
        atlas["conv9"]
    with pytest.raises(
        BadInputError, match=r"channel 99 is out of range for layer 'relu1' \(8 feature maps\)"
    ):
        atlas["relu1"][99]


def test_figures_of_an_atlas(atlas: backlight.Atlas) -> None:
    assert atlas.figure("relu2", [0, 1]).mode == "RGB"
    assert atlas["relu2"][1].figure() == atlas.figure("relu2", 1)
    assert atlas.superposed("relu2", [0], top=2).mode == "RGB"
    assert atlas.filters_figure("relu1").mode == "RGB"
    with pytest.raises(BadInputError, match="does not read the pixels directly"):
        atlas.filters_figure("relu2")
    np.testing.assert_array_equal(atlas["relu1"].filters, make_network().module.get_buffer("conv1_weight"))


def test_notebooks_show_an_atlas_a_map_and_a_hit(atlas: backlight.Atlas) -> None:
    assert "<code>relu2</code></td><td>12</td>" in atlas._repr_html_()
    for thing in (atlas["relu2"][0], atlas["relu2"][0].hits[0]):
        assert thing._repr_png_().startswith(b"\x89PNG")


def test_a_map_not_projected_is_refused_in_a_figure(tmp_path: Path, picture_folder: Path) -> None:
    built = build(make_network(), picture_folder, tmp_path / "few.atlas", ["relu2"], maps=[2, 5])
    with pytest.raises(BadInputError, match="channel 3 of layer 'relu2' was not projected, only 2, 5"):
        built.figure("relu2", [3])


def test_a_network_without_preprocessing_is_refused(small_net, picture_folder, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInputError, match="captured without preprocessing"):
        build(capture(small_net, (3, 32, 32)), picture_folder, tmp_path / "a.atlas")
    assert not (tmp_path / "a.atlas").exists()


@pytest.mark.parametrize("kept", [False, True])
def test_a_resumed_build_computes_as_it_was_begun(tmp_path: Path, picture_folder: Path, kept: bool) -> None:
    plan, path = plan_build(make_network(), picture_folder, ["relu1"], top=1), tmp_path / "a.atlas"
    begun = replace(plan.settings, batch_size=7, threads=3, compiled=kept)
    writer = AtlasWriter(path, plan.with_settings(begun))
    state, _ = writer.load_scan()
    writer.save_scan(state, 0, Partial(state, {}, kept))
    writer.close()
    for falls_back in (False, True):
        other = Settings(32, 1, not kept, falls_back)
        resumed = AtlasWriter(path, plan.with_settings(other))
        assert resumed.plan.settings == replace(begun, falls_back=falls_back)
        resumed.close()
