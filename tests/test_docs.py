"""The pages of the documentation tell the truth: their code runs, their links and flags exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backlight.cli.app import app

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize(("page", "least"), [("studies.md", 3), ("inversion.md", 2)])
def test_the_examples_run(page: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert len(code) >= least
    monkeypatch.chdir(tmp_path)
    exec("\n".join(code), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_command_and_flag_of_the_studies_exists() -> None:
    text = "".join(
        (DOCS / f"{page}.md").read_text() for page in ("studies", "reading-the-pictures", "inversion")
    )
    runner = CliRunner(env={"COLUMNS": "200"})
    helps = {str(c.name): runner.invoke(app, [str(c.name), "--help"]).output for c in app.registered_commands}
    shown = [line.split() for line in re.findall(r"^backlight (.+)$", text, re.MULTILINE)]
    assert len(shown) >= 3
    for command, *words in shown:
        assert [w for w in words if w.startswith("--") and w not in helps[command]] == []
