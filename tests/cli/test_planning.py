"""A plan's file: every flag of `build` that decides something, and a change of what it speaks of is noticed."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path

import pytest

from backlight.cli.build import build
from backlight.cli.planning import BuildOptions, read_plan
from backlight.errors import BadInputError
from cli.running import BUILD, check_refused, run

ELSEWHERE = {
    *("dry_run", "plan_file"),
    *("engine", "address", "stations", "cpus", "gpus", "ledger", "keep_ledger"),
}
"""Flags that decide nothing of what an atlas holds."""


def test_it_holds_every_flag_of_a_build_that_decides_something() -> None:
    flags = set(inspect.signature(build).parameters)
    assert {own.name for own in fields(BuildOptions)} == flags - ELSEWHERE


def test_it_is_read_as_it_was_written(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(*BUILD, "--top", "3", "--maps", "2", "--bands", "--shard-images", "32", "--plan", "p.json") == 0
    )
    assert not (workplace / "a.atlas").exists()
    assert "backlight scan-shard p.json 1/1\nbacklight merge p.json" in capsys.readouterr().out
    options, key = read_plan(workplace / "p.json")
    assert (options.top, options.maps, options.bands, options.shard_images) == (3, "2", True, 32)
    assert (options.default_ledger, len(key)) == ("a.atlas.ledger", 64)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a plan"),
        ("[]", "is not a plan"),
        ("{}", "is not a plan"),
        ('{"backlight plan": 2}', r"is not a plan \(it has the format 2\)"),
        (
            '{"backlight plan": 1, "scan": "", "options": {"model": "demo"}}',
            "it was written by another version",
        ),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(BadInputError, match=said):
        read_plan(tmp_path / "p.json")


def test_a_plan_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"cannot read the plan '.*p\.json' \(No such file or directory\)"
    ):
        read_plan(tmp_path / "p.json")


def test_a_change_of_the_images_is_noticed(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BUILD, "--plan", "p.json") == 0
    next((workplace / "pictures").rglob("*.png")).unlink()
    said = "are not those that 'p.json' was written for; write it again"
    check_refused(capsys, ("scan-shard", "p.json", "1/1"), said)


def test_a_change_of_its_options_is_noticed(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BUILD, "--plan", "p.json") == 0
    found = json.loads((workplace / "p.json").read_text())
    found["options"]["top"] = 4
    (workplace / "p.json").write_text(json.dumps(found))
    check_refused(capsys, ("merge", "p.json"), "are not those that 'p.json' was written for")
