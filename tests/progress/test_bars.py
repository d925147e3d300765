"""Bars on a terminal and in a notebook, lines elsewhere."""

from __future__ import annotations

from contextlib import nullcontext
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from backlight.progress import bars
from backlight.progress.bars import in_a_notebook, in_lines, on_a_terminal, watched


class Handle:
    """A cell that is written over."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def update(self, data: dict[str, str], raw: bool) -> None:
        """Take another text."""
        assert raw
        self.texts.append(data["text/plain"])


def test_bars_on_a_terminal_end_at_what_was_done() -> None:
    file = StringIO()
    console = Console(file=file, force_terminal=True, width=100, color_system=None)
    with pytest.raises(ValueError, match="halfway"), on_a_terminal(console) as report:
        report("scan", 0, 4)
        report("[red]layer", 3, 8, "[bold]error 3%")
        raise ValueError("halfway")
    # the last of several drawings, each over the one before
    first, second = file.getvalue().rsplit("scanning", 1)[1].split("\n")[:2]
    assert "0/4" in first
    assert second.startswith("[red]layer")
    assert "3/8" in second
    assert "[bold]error 3%" in second
    assert file.getvalue().endswith("\x1b[?25h")  # the cursor is there again


def test_without_a_report_nothing_is_drawn() -> None:
    file = StringIO()
    with on_a_terminal(Console(file=file, force_terminal=True)):
        pass
    assert file.getvalue() == ""


def test_a_notebook_has_one_text_that_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display")
    texts: list[str] = []

    def show(data: dict[str, str], raw: bool, display_id: bool) -> Any:
        assert (raw, display_id) == (True, True)
        texts.append(data["text/plain"])
        return Handle(texts)

    monkeypatch.setattr(display, "display", show)
    with in_a_notebook() as report:
        for done in range(5):
            report("scan", done, 4)
    assert "0/4" in texts[0]
    assert "4/4" in texts[-1]
    assert len(texts) <= 3  # not one for each report
    with in_a_notebook():
        pass
    assert len(texts) <= 3


def test_lines_are_written_one_by_one() -> None:
    lines: list[str] = []
    with in_lines(lines.append) as report:
        report("check", 2, 2)
    assert lines == ["checking: 2 of 2 feature maps (100%)"]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"force_jupyter": True}, "in_a_notebook"),
        ({"force_terminal": True, "force_jupyter": False}, "on_a_terminal"),
        ({"force_terminal": False, "force_jupyter": False}, "in_lines"),
    ],
)
def test_who_watches_decides_how_it_is_shown(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, bool], wanted: str
) -> None:
    chosen: list[str] = []
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(bars, "Console", lambda stderr: Console(file=StringIO(), **options))  # type: ignore[arg-type]
    for name in ("in_a_notebook", "on_a_terminal", "in_lines"):
        monkeypatch.setattr(bars, name, lambda *_, own=name: chosen.append(own) or nullcontext())
    with watched():
        assert chosen == [wanted]
