"""Kills commands at chosen calls that change files, runs them again, and compares what comes out.

Run as a program with `stopping.so` preloaded: forks a process for each kill, so that imports are paid once. It prints a
JSON object of each job: the number of calls, the kills, and what went wrong by call, 0 for the race of several at once.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from kills import jobs
from kills.jobs import JOBS, Job

_FIRST = 40


def _in_child(work: Callable[[], int]) -> int:
    """Fork, and return the process; it ends with what the work returns."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        # After a fork torch makes its thread pool anew when it is first told of threads. It must not be told by several
        # threads at once, as by those of the first backward pass ("Invalid thread pool!", SIGABRT or SIGSEGV).
        torch.set_num_threads(1)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command(folder: Path, command: str, stop_at: int = 0, torn: bool = False, tag: str = "") -> int:
    """Start a command in a folder; it stops itself at so manyth call, or never for 0. Return its process."""

    def work() -> int:
        os.chdir(folder)
        out = os.open(folder.parent / f"printed{tag}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        shim = ctypes.CDLL(None)
        shim.watch(os.fsencode(os.path.realpath(folder)), ctypes.c_long(stop_at), int(torn))
        code = jobs.run(command)
        shim.calls.restype = ctypes.c_long
        (folder.parent / "calls").write_text(str(shim.calls()))
        return code

    return _in_child(work)


def _finished(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _seen(job: Job, folder: Path, is_running: bool) -> list[str]:
    """Return what a reader finds wrong, in a process of its own; `-c` and the like are told by the file beside."""
    report = folder.parent / "seen"
    report.write_text("the reader ended with a traceback")

    def look() -> int:
        report.write_text(job.seen(folder, is_running) or "")
        return 0

    code = _finished(_in_child(look))
    text = report.read_text()
    return [f"a reader {'beside' if is_running else 'after'} it: {text} ({code})"] if text or code else []


def _killed(job: Job, start: Path, place: Path, stop_at: int, torn: bool, expected: Any) -> list[str]:
    """Kill a job at a call, run it again, and return what is wrong."""
    folder = place / "work"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(start, folder)
    child = _command(folder, job.command, stop_at, torn)
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        ended, printed = os.waitstatus_to_exitcode(status), (place / "printed").read_text()
        return [f"it was not stopped but ended with {ended}: {printed[-300:]}"]
    wrong = _seen(job, folder, True)
    os.kill(child, signal.SIGKILL)
    _finished(child)
    shutil.rmtree(place / "copy", ignore_errors=True)
    shutil.copytree(folder, place / "copy")  # a reader may roll back, which the second run must do by itself
    wrong += _seen(job, place / "copy", False)
    code = _finished(_command(folder, job.command))
    if code:
        return [*wrong, f"the second run ended with {code}: {(place / 'printed').read_text()[-300:]}"]
    if job.outcome(folder) != expected:
        wrong.append("what came out is not what an undisturbed run gives")
    return wrong


def _points(total: int, first: int, drawn: int, seed: int) -> list[int]:
    """Return the first calls and some drawn of the later ones, or of all where there are no later ones."""
    later = range(first + 1, total + 1) or range(1, total + 1)
    return [*range(1, min(first, total) + 1), *sorted(random.Random(seed).choices(later, k=drawn))]


def race(job: Job, rivals: int, start: Path, place: Path, expected: Any) -> list[str]:
    """Start a job several times at once, and return what is wrong: all but one are refused in a line, or come later."""
    folder = place / "work"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(start, folder)
    codes = [_finished(child) for child in [_command(folder, job.command, tag=f"{i}") for i in range(rivals)]]
    wrong = [] if 0 in codes else ["nobody went through"]
    for i, code in enumerate(codes):
        printed = (place / f"printed{i}").read_text()
        if code and not (code == 2 and any(text in printed for text in jobs.REFUSED)):
            wrong.append(f"a rival ended with {code}: {printed[-300:]}")
    if job.outcome(folder) != expected:
        wrong.append("what came out is not what an undisturbed run gives")
    return wrong


def kill(job: Job, asked: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Kill a job at its first calls and at some drawn of the later ones."""
    start, whole = jobs.make_folder(place / "start"), place / "whole"
    if job.needs is not None:
        assert _finished(_command(start, job.needs)) == 0
    shutil.copytree(start, whole)
    code = _finished(_command(whole, job.command))
    assert code == 0, (place / "printed").read_text()
    total, expected = int((place / "calls").read_text()), job.outcome(whole)
    wrong: dict[int, list[str]] = {}
    points = _points(total, asked.first, asked.drawn, asked.seed)
    for number, point in enumerate(points):
        found = _killed(job, start, place, point, bool(number % 2), expected)
        if found:
            wrong.setdefault(point, []).extend(found)
        print(f"{job.name}: {number + 1} of {len(points)} kills, {len(wrong)} went wrong", file=sys.stderr)
    wrong[0] = race(job, asked.rivals, start, place, expected)
    wrong = {point: found for point, found in wrong.items() if found}
    return {"job": job.name, "calls": total, "kills": len(points), "rivals": asked.rivals, "wrong": wrong}


def main() -> None:
    """Kill the jobs that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("jobs", nargs="*", default=list(JOBS))
    parser.add_argument("--first", type=int, default=_FIRST)
    parser.add_argument("--drawn", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rivals", type=int, default=16)
    asked = parser.parse_args()
    jobs.prepare()
    for name in asked.jobs or JOBS:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder).resolve()
            print(json.dumps(kill(JOBS[name], asked, place)), flush=True)


if __name__ == "__main__":
    main()
