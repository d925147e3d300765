"""Carrying out a plan: resumed it gives the same rows, and what an engine gives back is counted."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path

import pytest
import torch

import backlight
from atlas.files import make_network, rows
from atlas.grown import SMALL, phases_of
from backlight import build, open_atlas, plan_build
from backlight.atlas.building import execute
from backlight.atlas.schema import writing
from backlight.engines.local import LocalEngine


class Idle(LocalEngine):
    """An engine that gives nothing back for one of its tasks."""

    def __init__(self, task: str) -> None:
        setattr(self, task, lambda *_: iter(()))


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
    assert phases == {"scan", "certify", "project", "light"}
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


@pytest.mark.parametrize(
    ("task", "found"), [("scan", "40 where 0"), ("project", "0 where"), ("light", "0 where")]
)
def test_an_engine_that_gives_back_too_little_is_not_believed(
    tmp_path: Path, picture_folder: Path, task: str, found: str
) -> None:
    plan, path = plan_build(make_network(), picture_folder, ["relu1"], top=9), tmp_path / "a.atlas"
    with pytest.raises(RuntimeError, match=f"the engine is at {found}"):
        execute(plan, path, Idle(task))
    assert execute(plan, path).phase == "done"


# --- bands and whole pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", [("band", 1), ("light", 1), ("light", 5)])
def test_a_build_stopped_in_a_later_phase_resumes_to_the_same_rows(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch, stopped: tuple[str, int]
) -> None:
    monkeypatch.setattr(import_module("backlight.engines.work"), "LIGHT_IMAGES", 4)
    whole, path = tmp_path / "whole.atlas", tmp_path / "a.atlas"
    phases_of(whole, picture_folder, bands=True)

    def stop(phase: str, done: int, _: int) -> None:
        if phase == stopped[0] and done >= stopped[1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(make_network(), picture_folder, path, **SMALL, bands=True, progress=stop)
    part = open_atlas(path)
    assert part.phase == stopped[0]
    shown = [hit for layer in part.layers for channel in layer.channels for hit in layer[channel].hits]
    assert all(hit.projection_values.any() for hit in shown)
    assert None in [hit.whole for hit in shown]  # not made yet, which is no damage
    assert backlight.atlas.verify(path).is_sound
    steps: list[tuple[str, int]] = []
    # The parts that it was begun with are kept, whatever is asked for now.
    build(
        make_network(),
        picture_folder,
        path,
        **SMALL,
        wholes=False,
        progress=lambda *step: steps.append(step[:2]),
    )
    assert steps[0][0] == stopped[0]
    assert steps[0][1] > stopped[1]
    assert rows(path) == rows(whole)


@pytest.mark.usefixtures("no_waiting")
def test_batches_shards_and_threads_do_not_show_in_whole_pictures(
    tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for batch_size, step in ((4, 256), (16, 16)):
        monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", step)
        path = tmp_path / f"{batch_size}.atlas"
        build(make_network(), picture_folder, path, **SMALL | {"batch_size": batch_size}, bands=True)
        found.append(rows(path, ("picture", "activation", "field")))
        with sqlite3.connect(path) as connection:
            query = "SELECT layer_id, channel, bin, value, image_id, row, col FROM band ORDER BY 1, 2, 3"
            found[-1]["band"] = connection.execute(query).fetchall()
    assert found[0] == found[1]
