"""What a caller may give as `progress`: nothing, a function, or True for bars."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

import backlight
from backlight.progress import Watching, as_progress, shows_progress, silent


@shows_progress
def count(n: int, *, progress: Watching = None) -> int:
    """Count."""
    as_progress(progress)("sanity", n, n)
    return n


@shows_progress
def count_down(n: int, progress: Watching = None) -> Iterator[int]:
    """Count one by one."""
    for i in range(n):
        as_progress(progress)("sanity", i + 1, n)
        yield i


def test_nobody_listens_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert as_progress(None) is as_progress(False) is silent
    assert count(3) == count(3, progress=False) == 3
    assert list(count_down(2)) == [0, 1]
    assert capsys.readouterr() == ("", "")


def test_true_shows_how_far_the_work_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert count(3, progress=True) == 3
    assert list(count_down(2, True)) == [0, 1]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "replacing: 3 of 3 networks (100%)"
    assert lines[1].startswith("replacing: 2 of 2 networks (100%), took ")


def test_a_function_is_called_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[tuple[str, int, int]] = []
    count(3, progress=lambda *own: heard.append(own))
    assert heard == [("sanity", 3, 3)]
    assert capsys.readouterr() == ("", "")


def test_what_does_not_fit_is_refused_by_the_function_itself() -> None:
    with pytest.raises(TypeError, match=r"count\(\)"):
        count(progress=True)  # type: ignore[call-arg]


def _takers() -> Iterator[tuple[str, Any]]:
    """Yield the functions and methods of the library that anybody may give a `progress`."""
    for found in pkgutil.walk_packages(backlight.__path__, "backlight."):
        if found.name.split(".")[1] in ("cli", "progress"):
            continue
        module = import_module(found.name)
        for holder in [module, *(own for own in vars(module).values() if inspect.isclass(own))]:
            for name, own in vars(holder).items():
                if not inspect.isfunction(own) or name.startswith("_") or own.__module__ != module.__name__:
                    continue
                parameter = inspect.signature(own).parameters.get("progress")
                if parameter is not None and parameter.default is None:
                    yield f"{module.__name__}.{own.__qualname__}", own


def test_whatever_takes_a_progress_takes_true() -> None:
    takers = dict(_takers())
    lost = [name for name, own in takers.items() if not hasattr(own, "__wrapped__")]
    assert {"backlight.atlas.building.build", "backlight.scan.one_pass.scan"} < set(takers)
    assert len(takers) > 25
    assert lost == []


def test_a_scan_shows_its_bar(capsys: pytest.CaptureFixture[str]) -> None:
    net = backlight.capture(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), (3, 8, 8))
    backlight.scan(net, torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), progress=True)
    assert capsys.readouterr().err.startswith("scanning: 4 of 4 images (100%)")


def test_bars_are_imported_when_they_are_asked_for() -> None:
    code = "import sys, backlight.progress; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
