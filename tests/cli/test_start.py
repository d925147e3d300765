"""Help, the version and mistakes in the command line are answered without what takes seconds to import."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import backlight
from backlight.cli.commands import AdaptiveCommands, Commands
from backlight.studies.evolution.file import write_evolution
from fuzz.tiny import make_tiny_atlas, tiny_diagnosis, tiny_evolution

LATE = ("torch", "torchvision", "matplotlib", "scipy", "skimage", "timm")
WORDS = [*([name] for name in Commands.known), *(["adaptive", name] for name in AdaptiveCommands.known)]

RUN = """
import contextlib, io, sys
from backlight_program import main
for words in {words}:
    sys.argv = ["backlight", *words]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    print(*words, code, [name for name in {late} if name in sys.modules])
"""


def child(code: str) -> list[str]:
    """Return the lines that a new Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def answers(words: list[list[str]]) -> list[str]:
    return child(RUN.format(words=words, late=LATE))


def test_help_and_the_version_import_nothing_that_takes_long() -> None:
    asked = [["--help"], ["--version"], ["adaptive", "--help"], *([*own, "--help"] for own in WORDS)]
    assert answers(asked) == [f"{' '.join(words)} 0 []" for words in asked]


def test_mistakes_in_the_command_line_import_nothing_that_takes_long() -> None:
    asked = [
        ["figur"],
        ["build"],
        ["figure", "a.atlas", "--nonsense"],
        ["adaptive", "fi"],
        ["sanity", "--maps"],
    ]
    assert answers(asked) == [f"{' '.join(words)} 2 []" for words in asked]


def test_importing_the_package_imports_nothing_that_takes_long() -> None:
    code = f"""
import sys, backlight
from backlight import errors, geometry, images, render, storage, text
images.open_images, images.Preprocessing, images.decode, render.layer_figure, storage.read_npz
print([name for name in {LATE} if name in sys.modules])
"""
    assert child(code) == ["[]"]


def test_names_are_themselves_in_whatever_order_they_are_imported() -> None:
    """`scan` is a function and a room; importing the room must not put it in the place of the function."""
    code = """
import backlight.scan.one_pass, backlight
from backlight import scan
from backlight.scan import Scan
print(scan is backlight.scan, scan.__name__, Scan.__module__, backlight.studies.faithfulness.__name__)
import backlight.images.decode
from backlight.images import decode
print(decode.__name__)
"""
    assert child(code) == ["True scan backlight.scan.state backlight.studies.faithfulness", "decode"]


@pytest.mark.parametrize("name", ["backlight", "backlight.images", "backlight.render", "backlight.storage"])
def test_what_a_room_lists_is_there(name: str) -> None:
    room = import_module(name)
    assert set(room.__all__) <= set(dir(room))
    for listed in dir(room):
        assert getattr(room, listed) is not None


def test_a_star_import_gives_the_doors_and_not_the_rooms() -> None:
    assert {"capture", "project", "build", "open_atlas", "Layer"} <= set(backlight.__all__)
    given = (getattr(backlight, name) for name in backlight.__all__)
    assert not [own for own in given if isinstance(own, ModuleType)]


def test_pages_of_an_atlas_are_made_without_pytorch(tmp_path: Path) -> None:
    make_tiny_atlas(tmp_path / "t.atlas")
    make_tiny_atlas(tmp_path / "other.atlas", 1)
    own, other = str(tmp_path / "t.atlas"), str(tmp_path / "other.atlas")
    steps = str(tmp_path / "steps.npz")
    write_evolution(tiny_evolution(), steps)
    found = str(tmp_path / "found.json")
    tiny_diagnosis().save(tmp_path / "found")
    asked = [
        ["export", own, str(tmp_path / "site")],
        ["export", own, str(tmp_path / "two"), "--beside", other, "--evolution", steps, "--diagnosis", found],
        ["compare", own, other],
        ["info", own],
        ["layers", own],
        ["export", own, str(tmp_path / "hits.csv")],
        ["check", own],
    ]
    assert answers(asked) == [f"{' '.join(words)} 0 []" for words in asked]
    serving = """
        import sys
        from backlight.atlas import open_atlas
        from backlight.web.serving import app
        app(open_atlas(sys.argv[1]), open_atlas(sys.argv[1]))
        print([name for name in {late} if name in sys.modules])
    """
    code = textwrap.dedent(serving).format(late=LATE).replace("sys.argv[1]", repr(str(tmp_path / "t.atlas")))
    assert child(code) == ["[]"]
