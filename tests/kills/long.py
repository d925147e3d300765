"""Kills each command at its first 40 calls that change a file and at 100 others, and prints the counts.

Example:
    python tests/kills/long.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent


def run_killing(folder: Path, *arguments: str) -> str:
    """Compile what stops a process, run `killing.py` under it, and return what it prints."""
    import pytest

    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler, cc, to stop a process at a call")
    library = folder / "stopping.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, _HERE / "stopping.c", "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kills.killing", *arguments]
    done = subprocess.run(
        command, cwd=_HERE.parent, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def main() -> None:
    """Run it, print a line for each command and each kill that went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        found = [json.loads(line) for line in run_killing(Path(folder), *sys.argv[1:]).splitlines()]
    for own in found:
        counts = f"{own['calls']} calls, {own['kills']} kills, {own['rivals']} at once"
        print(f"{own['job']}: {counts}, {len(own['wrong'])} went wrong")
        for point, what in own["wrong"].items():
            print(f"  at call {point}: {'; '.join(what)}")
    sys.exit(any(own["wrong"] for own in found))


if __name__ == "__main__":
    main()
