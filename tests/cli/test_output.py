"""What the commands print: templates, progress bars, and no markup but in a template."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import typer

from backlight.cli import output
from backlight.cli.output import (
    console,
    counted,
    doing,
    errors,
    new_table,
    note,
    notes,
    print_command,
    print_skipped,
    progress_bars,
    show_warning,
    styled,
)
from backlight.errors import BacklightWarning
from backlight.images import Skipped
from backlight.text import visible
from fuzz.tiny import make_tiny_atlas

CLI = Path(output.__file__).parent

RUN = "from backlight_program import main; main()"
TAG = re.compile(r"\[/?(?:[a-z]+(?: [a-z]+)*)?\]")


def test_values_are_written_out_and_only_the_template_is_markup() -> None:
    text = styled("[bold]{}[/] of {:.1f} %", "[red]x[/]:cat:\n", 3.0)
    assert text.plain == "[red]x[/]:cat:\\n of 3.0 %"
    assert [str(span.style) for span in text.spans] == ["bold"]
    assert visible("fine äö\u3000– 日本") == "fine äö\u3000– 日本"
    assert visible("\ud800\u202e\t") == "\\ud800\\u202e\\t"


def test_names_in_progress_bars_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as report:
        report("[red]x[/y]", 2, 2, "[bold]note")
    assert capsys.readouterr().err == "[red]x[/y]: 2 of 2 (100%), [bold]note\n"


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


def test_numbers_of_things_in_words() -> None:
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
    ("resumes", "said"), [(True, "finished steps are kept"), (False, "nothing was written")]
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


def test_without_a_terminal_tables_and_lines_are_as_wide_as_they_need(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "swin.encoder.layers.0.blocks.0." * 5
    table = new_table("a title that is wider than the columns below it")
    table.add_column("layer", no_wrap=True)
    table.add_column("what")
    table.add_row(name, "two words")
    console.print(table)
    console.print("word " * 40 + "end")
    title, heads, row, line = capsys.readouterr().out.splitlines()
    assert title == "a title that is wider than the columns below it"
    assert heads.split() == ["layer", "what"]
    assert row.split() == [name, "two", "words"]
    assert line.endswith("word end")


def test_quiet_leaves_out_progress_and_notes_and_no_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "quiet", True)
    with progress_bars() as report, doing("waiting"):
        report("scan", 3, 3)
        note("something")
    errors.print("an error")
    assert capsys.readouterr().err == "an error\n"


def in_a_child(
    folder: Path, *words: str, pipe: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the program on its own, piped, and return what came out."""
    if shutil.which("bash") is None:
        pytest.skip("pipes of bash")
    make_tiny_atlas(folder / "t.atlas")
    program = f"{sys.executable} -c '{RUN}' {' '.join(words)}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", program + pipe],
        capture_output=True, text=True, cwd=folder, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("words", [["layers", "t.atlas"], ["info", "t.atlas", "--json"], ["--help"]])
def test_a_reader_that_stops_early_is_no_error(tmp_path: Path, words: list[str]) -> None:
    done = in_a_child(tmp_path, *words, pipe=" | true")  # it is gone before the first line is written
    assert (done.returncode, done.stderr) == (0, "")


def test_colours_are_for_terminals_unless_they_are_forced_and_never_where_they_are_refused(
    tmp_path: Path,
) -> None:
    plain = in_a_child(tmp_path, "layers", "t.atlas").stdout
    forced = in_a_child(tmp_path, "layers", "t.atlas", FORCE_COLOR="1", TERM="xterm").stdout
    refused = in_a_child(tmp_path, "layers", "t.atlas", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm").stdout
    assert "\x1b" not in plain
    assert "\x1b[" in forced
    assert re.sub(r"\x1b\[[\d;]*m", "", forced) == plain
    assert not re.search(r"\x1b\[[\d;]*3\dm", refused)  # bold is no colour


def test_a_terminal_gets_bars_and_a_file_gets_lines(tmp_path: Path) -> None:
    piped = in_a_child(tmp_path, "check", "t.atlas", FORCE_COLOR="1", TERM="xterm")
    assert re.search(r"checking: 7 of 7 feature maps \(100%\)", piped.stderr)
    assert "━" not in piped.stderr
    quiet = in_a_child(tmp_path, "check", "t.atlas", "-q")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert "nothing is damaged" in quiet.stdout
    shown = on_a_terminal(tmp_path, "check", "t.atlas")
    assert "━" in shown
    assert "7/7" in shown


def on_a_terminal(folder: Path, *words: str, code: str = RUN) -> str:
    """Return what the program, or other code, writes to a terminal of 80 columns."""
    pty = pytest.importorskip("pty", reason="a terminal of Unix")
    ours, theirs = pty.openpty()
    program = [sys.executable, "-c", code, *words]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(program, stdout=theirs, stderr=theirs, cwd=folder, env=environment):
        os.close(theirs)
        found = b""
        with suppress(OSError):  # Linux says so when the last writer has closed it
            while part := os.read(ours, 4096):
                found += part
    os.close(ours)
    return found.decode()


def test_on_a_narrow_terminal_no_column_is_left_out(tmp_path: Path) -> None:
    name = "encoder.block." * 9
    code = f"""
from backlight.cli.output import console, new_table
table = new_table('layers')
table.add_column('layer', no_wrap=True)
table.add_column('what it is')
table.add_row('{name}', 'three short words')
console.print(table)
console.print('word ' * 30)
"""
    plain = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(tmp_path, code=code))
    title, *rows = [line.rstrip() for line in plain.splitlines()]
    assert title == "layers"
    assert " ".join(" ".join(rows[:-2]).split()) == f"what layer it is {name} three short words"
    assert max(map(len, rows[-2:])) <= 80  # plain lines are broken at words as before


def test_a_terminal_is_told_what_takes_long_and_a_file_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "from backlight.cli.output import doing\nwith doing('capturing [red]net'): pass"
    assert "capturing [red]net …" in on_a_terminal(tmp_path, code=code)
    with doing("capturing net"):
        pass
    assert capsys.readouterr().err == ""
