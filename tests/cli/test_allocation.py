"""Freed memory is kept for the next step."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from backlight.cli.allocation import keep_freed_memory

# Whether glibc gives pages back depends by itself on what happens to lie on top of them, and the system may count a
# fault for many pages at once: the program rules out both, so that the pages counted are the setting's alone.
PROGRAM = """
import ctypes, resource, sys
import torch
from backlight.cli.allocation import keep_freed_memory
M_MMAP_THRESHOLD, PR_SET_THP_DISABLE = -3, 41
assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.set_num_threads(1)
def step():
    held = [torch.ones(1_500_000) for _ in range(5)]
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_steps_take_the_same_pages_again() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", PROGRAM, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    pages = 10 * 5 * 1_500_000 * 4 // 4096
    assert faults("keep") < pages / 20
    assert faults("give back") >= pages


def test_an_older_glibc_takes_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 2.35 a bound above 32 MB is refused, and changes nothing."""
    taken = {}

    class Older:
        @staticmethod
        def mallopt(which: int, value: int) -> int:
            if which == -3 and value > 32 << 20:
                return 0
            taken[which] = value
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Older)
    assert keep_freed_memory()
    assert taken == {-3: 32 << 20, -1: 256 << 20}


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
