"""`backlight figure`: the picture that it writes, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from backlight import open_atlas
from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas


def test_the_size_of_the_picture_is_said_and_columns_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    sizes = []
    for columns in ("1", "2"):
        assert run("figure", "t.atlas", "3", "-o", "f.png", "--columns", columns) == 0
        sizes.append(Image.open("f.png").size)
        assert capsys.readouterr().out == f"f.png ({sizes[-1][0]}x{sizes[-1][1]})\n"
    (narrow, high), (wide, low) = sizes
    assert narrow < wide
    assert high > low


def test_other_rules_are_drawn_as_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    drawn = {}
    for rules in ("deconvnet", "guided"):
        assert run("figure", "t.atlas", "3", "-o", f"{rules}.png", "--rules", rules) == 0
        drawn[rules] = open_atlas("t.atlas", rules).figure("3").tobytes()
        assert Image.open(f"{rules}.png").tobytes() == drawn[rules]
    assert drawn["deconvnet"] != drawn["guided"]


@pytest.mark.parametrize("command", ["figure", "superpose"])
def test_channels_may_be_called_maps_as_build_calls_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny_atlas(Path("t.atlas"))
    for flag in ("--channels", "--maps"):
        assert run(command, "t.atlas", "3", "-o", f"{flag}.png", flag, "1") == 0
    assert run(command, "t.atlas", "3", "-o", "all.png") == 0
    assert Path("--maps.png").read_bytes() == Path("--channels.png").read_bytes()
    assert Path("--maps.png").read_bytes() != Path("all.png").read_bytes()


BAD = [
    (("figure", "t.atlas", "3", "-o", "f.png", "--rules", "gradient"),
     "t.atlas has no projections by gradient; it has those by deconvnet, guided; `backlight extend t.atlas"),
    (("figure", "gone.atlas", "relu1", "-o", "f.png"), "no atlas at 'gone.atlas'; `backlight build"),
    (("figure", "mine.py", "relu1", "-o", "f.png"), "'mine.py' exists and is not an atlas"),
    (("figure", "t.atlas", "3", "-o", "f.png", "--channels", "x"),
     "--channels is a list such as 3,17,40 or 0-31, got 'x'"),
    (("figure", "t.atlas", "3", "-o", "f.png", "--low-pass"),
     "half a stride of layer '3' is less than 2 pixels, over which nothing is averaged; draw it without --low-pass"),
    (("figure", "mine.py", "relu1", "-o", "f.tga"), "a figure is written as .png, .webp, .pdf, .svg or .jpg"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    make_tiny_atlas(Path("t.atlas"))
    check_refused(capsys, arguments, text)
