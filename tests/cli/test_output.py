"""What the commands print: templates, progress bars, and no markup but in a template."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from backlight.cli import output
from backlight.cli.output import console, errors, progress_bars, styled
from backlight.text import visible

CLI = Path(output.__file__).parent

TAG = re.compile(r"\[/?(?:[a-z]+(?: [a-z]+)*)?\]")


def test_values_are_written_out_and_only_the_template_is_markup() -> None:
    text = styled("[bold]{}[/] of {:.1f} %", "[red]x[/]:cat:\n", 3.0)
    assert text.plain == "[red]x[/]:cat:\\n of 3.0 %"
    assert [str(span.style) for span in text.spans] == ["bold"]
    assert visible("fine äö\u3000– 日本") == "fine äö\u3000– 日本"
    assert visible("\ud800\u202e\t") == "\\ud800\\u202e\\t"


def test_names_in_progress_bars_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as report:
        report("[red]x[/y]", 1, 2, "[bold]note")
    assert "[red]x[/y]" in capsys.readouterr().err


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield file, function and call of every call in the command line's sources."""
    for path in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield path.name, ast.unparse(node.func), node


def test_nothing_but_a_literal_template_is_markup() -> None:
    """So that no name can become markup: the rule of `backlight.cli.output`, held over its sources."""
    assert not console._markup
    assert not errors._markup
    faults = []
    for file, function, call in _calls():
        text = ast.unparse(call)
        literals = [own.value for own in ast.walk(call) if isinstance(own, ast.Constant)]
        words = [own for own in literals if isinstance(own, str)]
        if function == "styled" and not (call.args and isinstance(call.args[0], ast.Constant)):
            templates = ast.walk(call.args[0]) if isinstance(call.args[0], ast.Name) else []
            if not list(templates):
                faults.append(f"{file}: the template is no literal: {text}")
        if any(own.arg in ("markup", "emoji") for own in call.keywords) and file != "output.py":
            faults.append(f"{file}: {text}")
        if function in ("Console", "Text.from_markup") and file != "output.py":
            faults.append(f"{file}: {text}")
        if function in ("console.print", "errors.print") and "styled(" not in text:
            faults += [f"{file}: printed as it is: {own}" for own in words if TAG.search(own) or "\n" in own]
    assert not faults
