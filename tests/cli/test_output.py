"""What the commands print: templates, progress bars, and no markup but in a template."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from backlight.cli import output
from backlight.cli.output import (
    console,
    counted,
    errors,
    in_words,
    print_command,
    print_skipped,
    progress_bars,
    show_warning,
    size_in_words,
    styled,
)
from backlight.errors import BacklightWarning
from backlight.images import Skipped
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
    for own in (console, errors):
        assert own.render_str("[bold]x[/]:cat:").plain == "[bold]x[/]:cat:"
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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "1 s"), (89.4, "89 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_sizes_and_numbers_of_things_in_words() -> None:
    assert [size_in_words(n) for n in (40e6, 1e9 - 1, 1.25e9)] == ["40 MB", "1000 MB", "1.2 GB"]
    assert [size_in_words(n) for n in (0, 999_999, 1e6)] == ["less than 1 MB", "less than 1 MB", "1 MB"]
    assert [counted(n, "layer") for n in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]


def test_of_pictures_that_could_not_be_read_the_first_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    print_skipped([])
    assert capsys.readouterr().out == ""
    print_skipped([Skipped(3, "[red]a.png", "the file is empty"), Skipped(7, "b.png", "damaged")])
    assert capsys.readouterr().out == (
        "2 pictures could not be read, the first:\n  [red]a.png: the file is empty\n"
    )


def test_a_kind_of_warning_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for low in (0.5, 1.5):
        show_warning(BacklightWarning(f"unlike any other from {low}", python="ask", command="give --this"))
    show_warning("unlike any other from 2.5, and more")
    assert capsys.readouterr().err.splitlines() == [
        "note: unlike any other from 0.5; give --this",
        "note: unlike any other from 2.5, and more",
    ]


@pytest.mark.parametrize(
    ("resumes", "said"), [(True, "what is finished is kept"), (False, "nothing was written")]
)
def test_ctrl_c_under_progress_bars_says_what_is_lost(
    capsys: pytest.CaptureFixture[str], resumes: bool, said: str
) -> None:
    with pytest.raises(typer.Exit) as stopped, progress_bars(resumes):
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130
    assert capsys.readouterr().err.strip().startswith(f"stopped; {said}")


def test_a_command_to_run_next_is_quoted_where_a_shell_asks_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_command("backlight", "figure", Path("my atlas"), "relu1;")
    assert capsys.readouterr().out == "backlight figure 'my atlas' 'relu1;'\n"
