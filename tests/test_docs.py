"""The pages of the documentation tell the truth: their code runs, their links and flags exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replicas.commands import command_helps

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("studies.md", 3),
        ("inversion.md", 2),
        ("adaptive.md", 1),
        ("diagnosis.md", 1),
        ("remedies.md", 1),
        ("images.md", 1),
    ],
)
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
    pages = ("studies", "reading-the-pictures", "inversion", "adaptive", "diagnosis", "images")
    text = "".join((DOCS / f"{page}.md").read_text() for page in pages)
    helps = command_helps()
    shown = re.findall(r"^backlight (.+)$", text, re.MULTILINE)
    assert len(shown) >= 3
    for line in shown:
        name = max((name for name in helps if f"{line} ".startswith(f"{name} ")), key=len)
        own = line.partition(" #")[0]
        assert [w for w in own.split() if w.startswith("--") and w not in helps[name]] == []
