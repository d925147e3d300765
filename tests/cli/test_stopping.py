"""Ctrl-C ends the program in one line and with exit code 130, whatever it does at that moment."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import backlight_program
from cli.running import run

_SEND = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"
_MOMENTS = {
    "while libraries are loaded": f"try:\n    {_SEND}except BaseException: pass\ndef main(): pass",
    "in a command": f"def main():\n    {_SEND}    raise SystemExit(0)",
    "while Python ends": f"import atexit\n@atexit.register\ndef end():\n    {_SEND}def main(): raise SystemExit(0)",
}


def program(folder: Path, cli: str, ignored: bool = False) -> tuple[int, str, str]:
    """Run the program on a package of this name that holds only the given module; return its code and what it says."""
    (folder / "backlight").mkdir()
    (folder / "backlight" / "__init__.py").touch()
    (folder / "backlight" / "cli.py").write_text(cli)
    own = Path(backlight_program.__file__).parents[1]
    start = "signal.signal(signal.SIGINT, signal.SIG_IGN); " if ignored else ""
    code = (
        f"import signal, sys; {start}sys.path[:0] = [{str(folder)!r}]; sys.path.append({str(own)!r}); "
        "from backlight_program import main; main()"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("moment", _MOMENTS)
def test_ctrl_c_at_any_moment(tmp_path: Path, moment: str) -> None:
    assert program(tmp_path, _MOMENTS[moment]) == (130, "", "stopped\n")


def test_in_the_background_it_stays_ignored(tmp_path: Path) -> None:
    cli = f"{_SEND}def main():\n    {_SEND}    print('done')"
    assert program(tmp_path, cli, ignored=True) == (0, "done\n", "")


def test_what_was_printed_before_ctrl_c_at_the_end_is_not_lost(tmp_path: Path) -> None:
    cli = _MOMENTS["while Python ends"].replace("raise SystemExit(0)", "print('done')")
    assert program(tmp_path, cli) == (130, "done\n", "stopped\n")


@pytest.mark.parametrize("where", ["models.load_network", "layers.new_table"])
def test_ctrl_c_in_a_command_without_progress(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    module, name = where.split(".")
    monkeypatch.setattr(import_module(f"backlight.cli.{module}"), name, interrupted)
    assert run("layers", "mine.py:make", "--size", "32") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"
