"""`backlight homogeneity`: how alike the hits of each map are, said and saved, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from backlight.studies.homogeneity import Homogeneity
from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas


def test_what_is_said_is_what_is_saved(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("homogeneity", "a.atlas", "--draws", "9", "--layers", "relu2", "--save", "n") == 0
    words = " ".join(capsys.readouterr().out.split())
    found = Homogeneity.load("n")
    assert found.config.n_draws == 9
    assert "layer projections patches colours labels purity relu2 " in words
    score = found.layer_score("relu2", "projections")
    assert f" relu2 {score.score:.2f} {score.auc:.0%} " in words
    assert "of different maps (9 random sets): 50 % is chance" in words
    most, least = found.ranked("relu2")
    assert f"relu2: feature maps most alike by projections {most}; least {least}; " in words
    assert words.endswith("n.json, .npz")


COMPARE = ("homogeneity", "t.atlas")
BAD = [
    (("homogeneity", "gone.atlas"), "no atlas at 'gone.atlas'"),
    (("homogeneity", "mine.py"), "'mine.py' exists and is not an atlas"),
    ((*COMPARE, "--layers", "relu9"), "t.atlas has no layer 'relu9'; it has 1, 3, 5"),
    ((*COMPARE, "--draws", "0"), "n_draws must be at least 1"),
    ((*COMPARE, "-o", "h.gif"), "a figure is written as .png, .webp, .pdf, .svg or .jpg, got 'h.gif'"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    make_tiny_atlas(Path("t.atlas"))
    check_refused(capsys, arguments, text)
