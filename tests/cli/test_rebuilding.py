"""The command that an atlas was built by, with the options that decide."""

from __future__ import annotations

import inspect
import json
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest

from backlight import open_atlas
from backlight.cli.build import build
from backlight.cli.planning import DECIDING, BuildOptions, origin_of
from backlight.cli.rebuilding import build_command
from cli.running import run
from fuzz.tiny import make_tiny_pictures

_PLAIN = BuildOptions(
    model="m.py:make", images="my photos", output="a.atlas", weights=None, layers="all", maps="16", top=9,
    rules="deconvnet", evidence=None, seed=0, batch_size=32, compile="auto", bands=False, wholes=True, device="cpu",
    shard_images=None, size=None, resize=None, mean=None, std=None, value_range=None,
)  # fmt: skip


def test_a_plain_build_names_no_options_and_quotes_its_words() -> None:
    found = build_command(origin_of(_PLAIN), Path("/elsewhere/b.atlas"))
    assert found == ("backlight build m.py:make 'my photos' -o b.atlas", True)


def test_options_that_decide_are_named() -> None:
    own = replace(
        _PLAIN, weights="w.pt", layers="a,b c", maps="4", bands=True, wholes=False, value_range="0,255"
    )
    command, is_whole = build_command(
        origin_of(replace(own, size="64", batch_size=8, seed=3)), Path("a.atlas")
    )
    assert is_whole
    assert command == (
        "backlight build m.py:make 'my photos' -o a.atlas --weights w.pt --layers 'a,b c' --maps 4 --seed 3 "
        "--batch-size 8 --bands --no-wholes --size 64 --range 0,255"
    )


def test_every_option_is_kept_or_decides_nothing() -> None:
    without = {"model", "images", "output", "weights", "compile", "shard_images"}
    assert {own.name for own in fields(BuildOptions)} == without | set(DECIDING)
    assert set(DECIDING) <= set(inspect.signature(build).parameters)


def test_passwords_are_not_kept() -> None:
    secret = replace(_PLAIN, images="ftp://me:secret@host/a.tar", labels="https://me:secret@host/names.txt")
    assert "secret" not in json.dumps(origin_of(secret))


def test_what_is_not_known_is_not_made_up() -> None:
    older = {"model": "demo", "images": "pictures; rm -r x", "weights": None}
    assert build_command(older, Path("a.atlas")) == (
        "backlight build demo 'pictures; rm -r x' -o a.atlas",
        False,
    )
    assert build_command({}, Path("a.atlas")) == ("", False)
    assert build_command(older | {"bands": "often"}, Path("a"))[0].endswith("-o a")


def test_the_command_of_a_build_builds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("from fuzz.tiny import tiny_model as make\n")
    make_tiny_pictures(Path("pictures"))
    options = (
        "--size",
        "12",
        "--resize",
        "12",
        "--maps",
        "1",
        "--top",
        "2",
        "--layers",
        "1,3",
        "--no-wholes",
    )
    assert run("build", "mine.py:make", "pictures", "-o", "a.atlas", *options) == 0
    capsys.readouterr()
    assert run("info", "a.atlas") == 0
    line = next(own for own in capsys.readouterr().out.splitlines() if "built by" in own)
    words = shlex.split(line.partition("built by")[2])
    Path("a.atlas").rename("first.atlas")
    assert run(*words[1:]) == 0
    first, second = open_atlas("first.atlas"), open_atlas("a.atlas")
    assert (first.selection, first.origin) == (second.selection, second.origin)
    assert first["1"].channels == second["1"].channels


def test_a_build_that_is_stopped_keeps_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("from fuzz.tiny import tiny_model as make\n")
    make_tiny_pictures(Path("pictures"))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("backlight.atlas.executing._project", stop)
        asked = ("build", "mine.py:make", "pictures", "-o", "a.atlas", "--size", "12", "--resize", "12")
        assert run(*asked) == 130
    capsys.readouterr()
    assert run("info", "a.atlas") == 0
    said = capsys.readouterr().out
    assert "rerun the command below to resume it" in said
    assert "backlight build mine.py:make pictures -o a.atlas --size 12 --resize 12" in said
