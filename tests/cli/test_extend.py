"""`backlight extend`: what it adds and says, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from backlight import open_atlas
from backlight.atlas import keep_origin
from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas, make_tiny_pictures

_MODEL = """
from fuzz.tiny import tiny_model as make
"""
_SIZE = ("--size", "12", "--resize", "12")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a model, its images and the atlas of two maps a layer that was built of them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(_MODEL)
    make_tiny_pictures(tmp_path / "pictures")
    make_tiny_atlas(tmp_path / "t.atlas")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_maps_and_rules_are_added_and_what_is_added_is_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("mine.py:make", "pictures")
    assert run("extend", "t.atlas", *model, "--layers", "3", "--maps", "all", "--rules", "gradient") == 0
    first, second, *_ = said(capsys)
    assert first == "6 feature maps there, 1 added, 1 to project by guided, 7 to project by gradient"
    assert second.startswith("t.atlas (")
    grown = open_atlas("t.atlas")
    assert [layer.channels for layer in grown.layers] == [(0, 1), (0, 1, 2), (0, 1)]
    assert grown.rule_sets == ("deconvnet", "guided", "gradient")


def test_what_is_there_is_said_to_be_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("t.atlas").read_bytes()
    assert run("extend", "t.atlas", "mine.py:make", "pictures", "--maps", "2", "--rules", "guided") == 0
    assert said(capsys) == ["t.atlas has all of that already"]
    assert Path("t.atlas").read_bytes() == before


def test_new_layers_are_added(place: Path) -> None:
    command = ("extend", "t.atlas", "mine.py:make", "pictures", "--layers", "0,2", "--maps", "1")
    assert run(*command) == 0
    assert list(open_atlas("t.atlas")) == ["0", "1", "2", "3", "5"]


def test_all_layers_are_the_default_ones(place: Path) -> None:
    assert run("extend", "t.atlas", "mine.py:make", "pictures", "--layers", "all", "--maps", "all") == 0
    assert [layer.channels for layer in open_atlas("t.atlas").layers] == [(0, 1), (0, 1, 2), (0, 1)]


def test_code_that_an_atlas_names_is_not_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep_origin(Path("t.atlas"), {"model": "mine.py:make", "images": "pictures", "weights": None})
    assert run("extend", "t.atlas", "--maps", "3") == 2
    assert "backlight extend t.atlas mine.py:make pictures --maps 3\n" in capsys.readouterr().err


BAD = [
    (
        ("extend", "t.atlas", "mine.py:make", "pictures"),
        "say what to add: --maps 32, --layers NAME --maps 16",
    ),
    (("extend", "gone.atlas", "--maps", "3"), "no atlas at 'gone.atlas'"),
    (("extend", "t.atlas", "mine.py:make", "pictures", "--layers", "0"), "give --maps 16, or all"),
    (("extend", "t.atlas", "mine.py:make", "pictures", "--layers", "9", "--maps", "1"), "no layer '9'"),
    (("extend", "t.atlas", "mine.py:make", "pictures", "--rules", "upside"), "upside"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
