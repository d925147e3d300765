"""The Ray engine: one, two and four stations make the same atlas, whatever dies meanwhile; one cluster for all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from atlas.files import make_network, rows
from backlight import Plan, Preprocessing, capture
from backlight.atlas import execute
from backlight.engines import ray as ray_engine
from backlight.engines.ray import RayConfig, RayEngine
from backlight.errors import ActivationError, BadInputError, MachineError
from conftest import SmallNet, make_pictures
from engines.clusters import cluster, kill, stations
from engines.plans import some_plan

pytest.importorskip("ray")

CONTENT = tuple[Plan, dict[str, Any]]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Return a cluster of two nodes, of two stations each; that takes seconds, and so does each station."""
    with cluster(2) as found:
        yield found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> CONTENT:
    """Return a plan of 15 shards, and what the local engine makes of it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ray")
    make_pictures(folder / "pictures", 60)
    (folder / "pictures" / "a" / "002.png").write_bytes(b"no picture")
    plan = some_plan(make_network(), folder / "pictures")
    plan = plan.with_settings(replace(plan.settings, batch_size=4, shard_images=4))
    execute(plan, folder / "local.atlas")
    return plan, rows(folder / "local.atlas")


class Strikes:
    """Does something when work has got so far."""

    def __init__(self, strikes: dict[tuple[str, int], Any]) -> None:
        self.left = strikes

    def __call__(self, phase: str, done: int, total: int) -> None:
        for key in [own for own in self.left if own[0] == phase and done >= own[1]]:
            self.left.pop(key)()


@pytest.mark.usefixtures("nodes")
def test_stations_that_are_killed_cost_their_shard_only(built: CONTENT, tmp_path: Path) -> None:
    plan, expected = built

    def strike() -> None:
        kill(stations()[0])

    strikes = Strikes({("scan", 12): strike, ("project", 30): strike, ("light", 10): strike})
    with RayEngine(tmp_path / "ledger", RayConfig(stations=1)) as engine:
        execute(plan, tmp_path / "a.atlas", engine, progress=strikes)
    assert not strikes.left
    assert rows(tmp_path / "a.atlas") == expected
    assert not (tmp_path / "ledger").exists()


def test_a_node_that_is_lost_costs_what_ran_there(
    nodes: Any, built: CONTENT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four stations on two nodes: the one that is left is full, and its idle stations must make room for the others."""
    plan, expected = built
    monkeypatch.setattr(ray_engine, "PATIENCE_S", 1.0)

    def lose() -> None:
        nodes.remove_node(min(nodes.worker_nodes, key=lambda own: own.node_id), allow_graceful=False)

    strikes = Strikes({("scan", 12): lose})
    try:
        with RayEngine(tmp_path / "ledger", RayConfig(stations=4)) as engine:
            execute(plan, tmp_path / "a.atlas", engine, progress=strikes)
    finally:
        nodes.add_node(num_cpus=2, object_store_memory=100 * 2**20)
    assert not strikes.left
    assert rows(tmp_path / "a.atlas") == expected


@pytest.mark.usefixtures("nodes")
def test_a_run_that_was_stopped_goes_on_from_the_ledger(
    built: CONTENT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, expected = built

    def stop() -> None:
        raise KeyboardInterrupt

    seen: list[int] = []
    with RayEngine(tmp_path / "ledger", RayConfig(stations=2)) as engine:
        with pytest.raises(KeyboardInterrupt):
            execute(plan, tmp_path / "a.atlas", engine, progress=Strikes({("scan", 24): stop}))
        assert len(list((tmp_path / "ledger").glob("*.npz"))) >= 6
        execute(
            plan,
            tmp_path / "a.atlas",
            engine,
            progress=lambda phase, done, _: seen.append(done) if phase == "scan" else None,
        )
        assert len(stations()) == 2
    assert seen[0] > 24
    assert rows(tmp_path / "a.atlas") == expected


@pytest.mark.usefixtures("nodes")
def test_what_a_station_reports_is_the_users_error(built: CONTENT, tmp_path: Path) -> None:
    plan, _ = built
    torch.manual_seed(0)
    model = SmallNet()
    with torch.no_grad():
        model.conv1.bias[2] = torch.inf
    bad = replace(plan, net=capture(model, (3, 32, 32), Preprocessing.default(3, 32)))
    with (
        RayEngine(tmp_path / "ledger", RayConfig(stations=1)) as engine,
        pytest.raises(ActivationError, match=r"layer 'relu1' .* \(channel 2\) for image a/000\.png"),
    ):
        execute(bad, tmp_path / "bad.atlas", engine)


def test_what_fails_elsewhere_in_another_way_is_one_line_too() -> None:
    ray = pytest.importorskip("ray")

    class Failing:
        exceptions = ray.exceptions

        def get(self, _: object) -> None:
            cause = ModuleNotFoundError("No module named 'backlight'")
            raise ray.exceptions.RayTaskError("do", "a traceback", cause)

    crew = object.__new__(ray_engine._Stations)
    crew._ray = Failing()
    with pytest.raises(
        MachineError, match=r"\(ModuleNotFoundError: No module named 'backlight'\); what is done is kept"
    ):
        crew._result(object(), None)


@pytest.mark.usefixtures("nodes")
def test_a_task_that_kills_every_station_is_not_tried_for_ever(
    built: CONTENT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = built
    monkeypatch.setattr(ray_engine, "MOST_RETRIES", 0)

    class Deadly:
        """Images that take the process with them that receives them."""

        name, records = "deadly", plan.images.records[:8]
        load, fingerprint = plan.images.load, plan.images.fingerprint

        def __len__(self) -> int:
            return len(self.records)

        def __reduce__(self) -> tuple[Any, ...]:
            return os._exit, (9,)

    deadly = replace(plan, images=Deadly())
    with (
        RayEngine(tmp_path / "ledger", RayConfig(stations=1)) as engine,
        pytest.raises(MachineError, match=r"died while it started.*, 1 time over .*what is done is kept"),
    ):
        list(engine.scan(deadly, deadly.shards()))


@pytest.mark.usefixtures("nodes")
def test_a_function_is_sent_unless_it_holds_what_stays_here(built: CONTENT, tmp_path: Path) -> None:
    lock = Lock()

    def flat(picture: Image.Image) -> torch.Tensor:
        return torch.full((3, 32, 32), float(np.asarray(picture).mean()) / 255)

    def locked(picture: Image.Image) -> torch.Tensor:
        with lock:
            return flat(picture)

    for function, is_sent in ((flat, True), (locked, False)):
        plan = replace(built[0], net=capture(SmallNet(), preprocessing=function))
        with RayEngine(tmp_path / "ledger", RayConfig(stations=1)) as engine:
            if is_sent:
                assert sum(len(own.sizes) for own in engine.scan(plan, plan.shards())) == 59
                continue
            with pytest.raises(BadInputError, match=r"or the images cannot be sent to other processes \("):
                list(engine.scan(plan, plan.shards()))


@pytest.mark.parametrize("config", [RayConfig(stations=0), RayConfig(cpus=0), RayConfig(gpus=-1.0)])
def test_numbers_that_make_no_sense_are_refused(config: RayConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="stations and CPUs must be at least 1 and GPUs at least 0, got "):
        RayEngine(tmp_path / "ledger", config)


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInputError, match=r"run: pip install 'backlight\[ray\]'$"):
        RayEngine(tmp_path / "ledger")
