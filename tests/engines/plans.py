"""A plan that engines carry out in tests, and its units of work, each done by a worker of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backlight import GUIDED, Network, Plan, plan_build
from backlight.engines.local import Worker
from backlight.engines.plan import Shard
from backlight.engines.work import FinishedLight, FinishedTile, Group, LightGroup, Partial
from backlight.scan.certain import Answer, QuestionGroup


def some_plan(net: Network, folder: Path) -> Plan:
    rules = {"relu2": GUIDED}
    return plan_build(net, folder, ["relu1", "relu2", "fc"], 4, rules, maps=5, batch_size=8, bands=True)


def scan_shard(plan: Plan, shard: Shard) -> Partial:
    (partial,) = Worker(plan).scan([shard], alone=True)
    return partial


def answer_group(plan: Plan, group: QuestionGroup) -> tuple[Answer, ...]:
    (answers,) = Worker(plan).certify([group])
    return answers


def project_group(plan: Plan, group: Group) -> Sequence[FinishedTile]:
    (tiles,) = Worker(plan).project([group])
    return tiles


def light_group(plan: Plan, group: LightGroup) -> FinishedLight:
    (found,) = Worker(plan).light([group])
    return found
