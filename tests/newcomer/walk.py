"""Walks the tutorial as a newcomer would: a fresh environment, the wheel, a model and a folder of photographs.

    python tests/newcomer/walk.py                                    # minutes; prints how long each step takes
    python tests/newcomer/walk.py --libraries .venv                  # with the libraries of another environment
    python tests/newcomer/walk.py --figure docs/figures/tutorial.webp  # also keeps the tutorial's figure

Commands and code are read from docs/tutorial.md, so what is walked is what the page says. Only two things differ: the
package comes from the wheel that is built here instead of an index, and `photos/` holds the photographs of the demo, as
files (backlight-demo is a distribution of its own, and is not installed). No part of this working tree can be imported.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
PHOTOGRAPHS = ROOT / "demo" / "src" / "backlight_demo" / "photographs"
OWN_ENVIRONMENT = ("python -m venv ", "source ")
INSTALL = "pip install backlight"
PYTORCH = "install PyTorch"
MAKES = ("upright.pt", "upright.atlas", "figure.png", "site", "from-python.png", "projection.png", "unit.png")
# Every module of the package that needs no extra can be imported, and nothing comes from a working tree.
LOOK = """
import importlib, pkgutil, sys
import backlight
assert "site-packages" in backlight.__file__, backlight.__file__
extras = {"ray", "timm", "datasets", "tenacity", "transformers", "pydicom", "captum", "backlight_demo"}
count = 0
for found in pkgutil.walk_packages(backlight.__path__, "backlight."):
    try:
        importlib.import_module(found.name)
        count += 1
    except ModuleNotFoundError as error:
        assert (error.name or "").split(".")[0] in extras, (found.name, error)
assert "pytest" not in sys.modules
print(backlight.__version__, count, "modules")
"""


@dataclass(frozen=True)
class Step:
    """One thing that the page tells its reader to do.

    Attributes:
        kind: `save` a file, run a `command`, or run `code`.
        text: The command or the code.
        name: The file to save the code in, or what to call the code in the table of times.
    """

    kind: str
    text: str
    name: str


def steps(page: str) -> Iterator[Step]:
    """Yield what the page says, in its order."""
    n_codes = 0
    for before, kind, block in re.findall(r"([^\n]*)\n\n```(shell|python)\n(.*?)```", page, re.DOTALL):
        if kind == "shell":
            for line in block.splitlines():
                yield Step("command", line, line)
        elif saved := re.search(r" this as `([\w.]+)`", before):
            yield Step("save", block, saved[1])
        else:
            n_codes += 1
            yield Step("code", block, f"the Python code, block {n_codes}")


def walk(folder: Path, libraries: Path | None = None) -> list[tuple[str, float]]:
    """Do all that the page says in an empty folder, and return what took how many seconds.

    Args:
        folder: An empty folder.
        libraries: An environment whose libraries are used instead of installing any. A working tree that is installed
            there in editable form is still out of sight: Python reads no .pth files of a folder that one names.
    """
    times: list[tuple[str, float]] = []
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "BACKLIGHT"))
    }
    bin_folder = folder / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    environment["PATH"] = os.pathsep.join([str(bin_folder), environment["PATH"]])
    python = str(bin_folder / "python")
    work = folder / "work"

    def timed(name: str, *arguments: str) -> str:
        begun = time.perf_counter()
        done = subprocess.run(
            arguments, cwd=work, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        times.append((name, time.perf_counter() - begun))
        if done.returncode:
            raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    shutil.copytree(PHOTOGRAPHS, work / "photos", ignore=shutil.ignore_patterns("*.md"))
    timed(
        "build the wheel",
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(folder),
        str(ROOT),
    )
    (wheel,) = folder.glob("backlight-*.whl")
    timed("python -m venv .venv", sys.executable, "-m", "venv", str(folder / ".venv"))
    no_dependencies = () if libraries is None else ("--no-deps", "--ignore-installed")
    quiet = ("-q", "--disable-pip-version-check")
    if libraries is None:
        timed(PYTORCH, python, "-m", "pip", "install", *quiet, "torch", "torchvision")
    else:
        (own,) = (folder / ".venv").rglob("site-packages")
        (borrowed,) = libraries.resolve().glob("**/site-packages")
        (own / "borrowed.pth").write_text(f"{borrowed}\n", "utf-8")
    for step in steps(PAGE.read_text("utf-8")):
        if step.kind == "save":
            (work / step.name).write_text(step.text, "utf-8")
        elif step.kind == "code":
            timed(step.name, python, "-c", step.text)
        elif step.text == INSTALL:
            timed(step.name, python, "-m", "pip", "install", *quiet, *no_dependencies, str(wheel))
            timed("(import every module)", python, "-c", LOOK)
        elif not step.text.startswith(OWN_ENVIRONMENT):
            program, *arguments = shlex.split(step.text)
            timed(step.name, str(bin_folder / program), *arguments)
    missing = [name for name in MAKES if not (work / name).exists()]
    if missing:
        raise SystemExit(f"the tutorial should have made {', '.join(missing)}")
    return times


def main() -> None:
    """Walk, print the times, and keep the figure if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--figure", type=Path, help="Keep the tutorial's figure here.")
    parser.add_argument(
        "--libraries", type=Path, help="An environment to take PyTorch and other libraries from."
    )
    given = parser.parse_args()
    figure = given.figure
    with tempfile.TemporaryDirectory() as temporary:
        times = walk(Path(temporary), given.libraries)
        if figure is not None:
            from PIL import Image

            picture = Image.open(Path(temporary) / "work" / "figure.png").convert("RGB")
            picture.thumbnail((1600, 1600), Image.Resampling.LANCZOS)
            picture.save(figure, quality=85, method=6)
    for name, seconds in times:
        print(f"{seconds:7.1f} s  {name}")
    own = sum(seconds for name, seconds in times if name != PYTORCH)
    print(f"{own:7.1f} s  in all, without the installation of PyTorch (aim: 300 s on two cores)")


if __name__ == "__main__":
    main()
