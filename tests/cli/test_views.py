"""What `project` and `superpose` draw of an image, and what their legends say of the seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import backlight
from backlight.cli.views import describe_seed
from cli.running import run


def test_the_seed_of_a_unit_can_be_given_and_the_legend_says_so(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    legends: list[str] = []
    monkeypatch.setattr(
        backlight.render, "strip", lambda views, title, legend: legends.append(legend) or views[0][1]
    )
    weights = load_file("w.safetensors")
    weights["conv2.bias"] -= 100
    save_file(weights, "low.safetensors")
    for asked, said in (((), "what lowers it."), (("--seed-value", "1"), "seeded with 1 instead of")):
        shared = ("--weights", "low.safetensors", "--size", "32", "--layer", "conv2", "-o", "p.png", *asked)
        unit = ("--channel", "3", "--row", "2", "--col", "1")
        assert run("project", "mine.py:make", "pictures/a/000.png", *shared, *unit) == 0
        assert "activation -" in capsys.readouterr().out
        assert said in legends.pop()
        assert run("superpose", "mine.py:make", "pictures/a/000.png", *shared, "--top", "99") == 0
        assert said in legends.pop()


def test_nothing_is_said_of_a_unit_that_is_seeded_with_its_own_positive_activation() -> None:
    assert describe_seed("activation", [0.5, 2.0]) == ""
    assert describe_seed("activation", [0.5, 0.0]) == "A unit at zero has an empty picture."
