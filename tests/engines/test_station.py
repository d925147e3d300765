"""A station does tasks of one plan in any order, on a device and threads of its own."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
import torch

from atlas.files import make_network
from backlight import Plan
from backlight.engines.ledger import ledger_of
from backlight.engines.local import LocalEngine
from backlight.engines.plan import Shard
from backlight.engines.station import Alone, Crew, Station, Task
from backlight.engines.work import LightGroup, PendingHit, groups_of
from engines.plans import some_plan


@pytest.fixture
def plan(picture_folder: Path) -> Plan:
    return some_plan(make_network(), picture_folder)


def test_tasks_are_done_in_their_order_those_that_are_added_too(plan: Plan, tmp_path: Path) -> None:
    ledger = ledger_of(plan, tmp_path / "ledger")
    crew, tasks = Alone(Station(plan, ledger)), deque([Task("scan", Shard(0, 8)), Task("scan", Shard(8, 16))])
    assert isinstance(crew, Crew)
    done = []
    for task, result in crew.run(tasks):
        done.append((task.method, result))
        if task.argument == Shard(8, 16):
            tasks.append(Task("merge", [Shard(0, 8), Shard(8, 16)]))
    assert done == [("scan", []), ("scan", []), ("merge", Shard(0, 16))]
    assert ledger.shards() == [Shard(0, 16)]


def test_what_it_projects_and_keeps_whole_is_what_the_local_engine_does(plan: Plan, tmp_path: Path) -> None:
    station = Station(plan, ledger_of(plan, tmp_path / "ledger"))
    pending = [[PendingHit(i, 2, 0, i, 1, 1)] for i in range(2)]
    groups = groups_of(plan, [*pending, []])
    tiles = [tile for own in LocalEngine().project(plan, groups) for tile in own]
    assert station.project(groups) == tiles
    assert station.project(groups) == tiles  # again, with what was made for the first time
    lit = [LightGroup((0, 1), tuple(own[0] for own in pending))]
    assert station.light(lit) == list(LocalEngine().light(plan, lit))


def test_it_has_threads_and_a_device_of_its_own(plan: Plan, tmp_path: Path) -> None:
    station = Station(plan, ledger_of(plan, tmp_path / "ledger"), threads=2, device="cpu")
    assert torch.get_num_threads() == 2
    assert station.scan(Shard(0, 8)) == []
    assert station._plan.net is not plan.net
    assert station._plan.net.fingerprint() == plan.net.fingerprint()
