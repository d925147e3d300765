"""`backlight serve`: the address that it says, and bad input in one clear line."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import backlight.web
from backlight.cli import output
from backlight.studies.diagnosis import Diagnosis
from backlight.studies.evolution import EvolutionResult
from backlight.studies.evolution.file import write_evolution
from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas, tiny_diagnosis, tiny_evolution


@pytest.mark.parametrize(("flag", "seen"), [("--open", ["http://127.0.0.1:1/"]), ("--no-open", [])])
def test_the_address_is_said_and_opened_where_somebody_sees_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    seen: list[str],
) -> None:
    make_tiny_atlas(tmp_path / "t.atlas")
    make_tiny_atlas(tmp_path / "other.atlas", 1)
    opened: list[str] = []
    asked: list[int | None] = []
    compared: list[str | None] = []
    followed: list[tuple[str, ...] | None] = []
    diagnosed: list[int | None] = []

    def serve(
        atlas: Any,
        port: int | None,
        beside: Any,
        evolution: EvolutionResult | None,
        diagnosis: Diagnosis | None,
        net: Any,
        images: Any,
        ready: Callable[[str], None],
    ) -> None:
        assert net is images is None
        asked.append(port)
        compared.append(None if beside is None else beside.path.name)
        followed.append(None if evolution is None else evolution.steps)
        diagnosed.append(None if diagnosis is None else diagnosis.n_images)
        ready("http://127.0.0.1:1/")

    monkeypatch.setattr(backlight.web, "serve", serve)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("backlight.cli.serve.has_browser", lambda: True)
    assert run("serve", str(tmp_path / "t.atlas"), "--port", "7", flag) == 0
    assert "http://127.0.0.1:1/ (Ctrl-C stops)" in capsys.readouterr().out
    assert (opened, asked) == (seen, [7])
    assert run("serve", str(tmp_path / "t.atlas"), "--beside", str(tmp_path / "other.atlas"), flag) == 0
    assert compared == [None, "other.atlas"]
    write_evolution(tiny_evolution(), tmp_path / "steps.npz")
    assert run("serve", str(tmp_path / "t.atlas"), "--evolution", str(tmp_path / "steps.npz"), flag) == 0
    assert followed == [None, None, ("epoch-2", "epoch-9", "epoch-10")]
    tiny_diagnosis().save(tmp_path / "found")
    for name in ("found", "found.json"):
        assert run("serve", str(tmp_path / "t.atlas"), "--diagnosis", str(tmp_path / name), flag) == 0
    assert diagnosed == [None, None, None, 5, 5]


def test_without_a_terminal_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert not output.has_browser()


def test_a_missing_atlas_is_one_clear_line(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused(capsys, ("serve", "gone.atlas"), "no atlas at 'gone.atlas'; `backlight build")


def test_a_model_that_is_named_adds_the_probe(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny_atlas(workplace / "t.atlas")
    (workplace / "mine.py").write_text(
        "from fuzz.tiny import tiny_model\n\n\ndef make():\n    return tiny_model()\n"
    )
    probed: list[tuple[str, Any]] = []

    def serve(
        atlas: Any,
        port: int | None,
        beside: Any,
        evolution: Any,
        diagnosis: Any,
        net: Any,
        images: Any,
        ready: Any,
    ) -> None:
        assert beside is evolution is diagnosis is None
        assert net.fingerprint() == atlas.model.fingerprint
        assert net.preprocessing == atlas.preprocessing
        probed.append((net.name, images))

    monkeypatch.setattr(backlight.web, "serve", serve)
    assert run("serve", "t.atlas", "--model", "mine.py:make", "--images", "pictures") == 0
    assert probed == [("Sequential", "pictures")]


@pytest.mark.parametrize("given", [("--weights", "w.pt"), ("--images", "pictures")])
def test_what_needs_a_model_says_so(
    workplace: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, str]
) -> None:
    check_refused(capsys, ("serve", "t.atlas", *given), "name the model with --model")
