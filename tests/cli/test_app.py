"""The program: its version, and how errors become one line and an exit code."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path

import pytest
from safetensors.torch import save_file

import backlight
from backlight.cli import main
from cli.running import BUILD, run
from conftest import SmallNet


def test_debug_shows_the_traceback(workplace: Path) -> None:
    with pytest.raises(backlight.BacklightError, match="no such file or folder"):
        main(["build", "mine.py:make", "nowhere", "-o", "a.atlas", "--debug"])


def test_debug_shows_what_stopped_a_capture(workplace: Path) -> None:
    Path("deciding.py").write_text(
        "import torch\n\n\nclass Model(torch.nn.Module):\n"
        "    def forward(self, x):\n        return x if x.sum() > 0 else -x\n"
    )
    with pytest.raises(backlight.errors.CaptureError) as refused:
        main(["layers", "deciding.py:Model", "--size", "8", "--debug"])
    shown = "".join(traceback.format_exception(refused.value))
    assert "During handling of the above exception" in shown
    assert "torch/export" in shown


def test_failed_work_exits_with_1(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = SmallNet().state_dict()
    state["conv2.weight"][:] = float("nan")
    save_file(state, workplace / "nan.safetensors")
    arguments = [a if a != "w.safetensors" else "nan.safetensors" for a in BUILD]
    assert run(*arguments) == 1
    assert "layer 'relu2' has an activation that is not finite" in capsys.readouterr().err


def test_an_error_that_nobody_expected_is_one_line_too_and_debug_shows_it(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("[red]by zero\nand more")

    monkeypatch.setattr("backlight.cli.models.load_network", fail)
    assert run("layers", "mine.py:make") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "unexpected error: ZeroDivisionError: [red]by zero; --debug shows where"
    with pytest.raises(ZeroDivisionError, match="by zero"):
        main(["--debug", "layers", "mine.py:make"])


def test_the_program_is_on_the_path() -> None:
    assert shutil.which("backlight", path=str(Path(__import__("sys").executable).parent))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"backlight {backlight.__version__}\n"
