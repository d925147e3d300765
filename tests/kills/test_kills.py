"""Killed at a call that changes a file, a command goes on to the same end; readers are told the truth meanwhile.

The long run, at each of the first 40 calls and at 100 others of each command, is `python tests/kills/long.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

from kills.long import run_killing


# One process for all: it loads the libraries once, as long as any test of a killed process takes, then forks.
def test_killed_commands_go_on_to_the_same_end_and_readers_are_told_the_truth(tmp_path: Path) -> None:
    found = [
        json.loads(line)
        for line in run_killing(tmp_path, "--first", "2", "--drawn", "1", "--rivals", "2").splitlines()
    ]
    assert [(own["job"], own["kills"], own["wrong"]) for own in found] == [
        ("build", 3, {}),
        ("extend", 3, {}),
        ("faithfulness", 3, {}),
        ("adaptive fit", 3, {}),
    ]
