"""The pages of the documentation tell the truth: their code runs, their links, commands and flags exist."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import torch
from typer.testing import CliRunner

import backlight.web
from backlight.cli.app import app
from newcomer.walk import OWN_ENVIRONMENT, PAGE, PHOTOGRAPHS, Step, steps
from replicas.commands import command_helps

DOCS = Path(__file__).parents[1] / "docs"
# Those that are kept; the site has more, which are written from the program and from notebooks.
WRITTEN = (DOCS / "reference" / "generated", DOCS / "notebooks")
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if not set(WRITTEN) & set(path.parents)]


def blocks_of(text: str) -> list[tuple[str, str]]:
    """Return the code blocks of a page, each with its language."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


PYTHON = {
    path: code
    for path in PAGES
    if (code := [block for language, block in blocks_of(path.read_text()) if language == "python"])
}
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.mark.parametrize("page", sorted(PYTHON.keys() - {PAGE}), ids=lambda page: page.stem)
def test_the_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        backlight.web, "serve", create_autospec(backlight.web.serve)
    )  # it would serve for ever
    exec("\n".join(PYTHON[page]), {})


def test_the_pages_have_examples() -> None:
    assert {"studies", "inversion", "adaptive", "diagnosis", "images", "tutorial"} <= {
        own.stem for own in PYTHON
    }
    assert len(PYTHON[DOCS / "studies.md"]) >= 3


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its commands and code, on thirty photographs and without the training: tests/newcomer/walk.py has that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(PHOTOGRAPHS.glob("*.jpg"))[::5]:
        (photos / path.name).write_bytes(path.read_bytes())
    for step in steps(PAGE.read_text("utf-8")):
        _take(step, tmp_path)
    sys.modules.pop("model", None)
    assert {"upright.atlas", "figure.png", "site", "from-python.png", "projection.png"} <= {
        path.name for path in tmp_path.iterdir()
    }


def _take(step: Step, folder: Path) -> None:
    """Take one step of the tutorial, in this process."""
    if step.kind == "save":
        (folder / step.name).write_text(step.text, "utf-8")
    elif step.kind == "code":
        exec(step.text, {})
    elif step.text == "python train.py":
        sys.modules.pop("model", None)
        torch.manual_seed(0)
        names: dict[str, object] = {}
        exec((folder / "model.py").read_text("utf-8"), names)
        torch.save(names["make"]().state_dict(), folder / "upright.pt")  # type: ignore[operator]
    elif not step.text.startswith((*OWN_ENVIRONMENT, "pip ")):
        _, *arguments = shlex.split(step.text)
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, f"{step.text}: {done.output}{done.exception}"


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_menu_once() -> None:
    menus = [
        (page.parent / entry).resolve()
        for page in PAGES
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL)
        for entry in re.findall(r"^(?!:)(?:.+ <)?([^\s>]+)>?$", tree, re.MULTILINE)
        if not set(WRITTEN) & set((page.parent / entry).resolve().parents)
    ]
    assert sorted(str(entry) for entry in menus) == sorted(
        str(page.with_suffix("")) for page in PAGES if page != DOCS / "index.md"
    )


def commands_of(text: str) -> list[str]:
    """Return the commands that a page shows: lines of code blocks, with what continues them, and code in sentences."""
    shown = "".join(block for language, block in blocks_of(text) if language in ("", "shell", "bash"))
    lines = re.findall(r"^backlight (.+)$", re.sub(r"\\\n\s*", "", shown), re.MULTILINE)
    sentences = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [*lines, *(" ".join(own.split()) for own in re.findall(r"`backlight ([^`]+)`", sentences))]


@pages
def test_every_command_and_flag_exists(page: Path) -> None:
    helps = command_helps()
    for line in commands_of(page.read_text()):
        if line.startswith(("--", "COMMAND")):
            continue
        names = [name for name in helps if f"{line} ".startswith(f"{name} ")]
        assert names or line == "adaptive", line
        own = line.partition(" #")[0]
        known = helps[max(names, key=len)] if names else ""
        assert [w for w in own.split() if w.startswith("--") and w.rstrip(",;.") not in known] == [], line


def test_the_pages_show_commands() -> None:
    shown = [line for page in PAGES for line in commands_of(page.read_text())]
    assert len(shown) > 60
    assert {line.split()[0] for line in shown} >= {
        "build",
        "figure",
        "serve",
        "invert",
        "diagnose",
        "scan-shard",
    }
