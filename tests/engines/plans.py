"""A plan that engines carry out in tests."""

from __future__ import annotations

from pathlib import Path

from backlight import GUIDED, Network, Plan, plan_build


def some_plan(net: Network, folder: Path) -> Plan:
    rules = {"relu2": GUIDED}
    return plan_build(net, folder, ["relu1", "relu2", "fc"], 4, rules, maps=5, batch_size=8, bands=True)
