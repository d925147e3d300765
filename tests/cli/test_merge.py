"""`backlight merge` beside a finished scan: tests of both commands are in `test_scan_shard.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.running import BUILD, check_refused, run


@pytest.mark.usefixtures("workplace")
def test_an_atlas_in_the_place_of_which_nothing_can_be_written_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*BUILD, "--plan", "p.json") == 0
    Path("a.atlas").mkdir()
    check_refused(capsys, ("merge", "p.json"), "'a.atlas' is a folder; give the name of the atlas to write")


@pytest.mark.usefixtures("workplace")
def test_a_device_is_not_named_twice(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*BUILD, "--engine", "ray", "--device", "cuda")
    check_refused(
        capsys, arguments, "with --engine ray, --gpus 1 puts networks on GPUs; leave out --device cuda"
    )


@pytest.mark.usefixtures("workplace")
def test_flags_of_ray_are_refused_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BUILD, "--plan", "p.json") == 0
    check_refused(
        capsys, ("merge", "p.json", "--stations", "2"), "--stations says what Ray does; add --engine ray"
    )
