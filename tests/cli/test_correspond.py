"""`backlight correspond`: a table for each layer, the numbers in it, and bad input in one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backlight.studies.correspondence import Correspondence
from cli.running import check_refused, run

MASK = ("correspond", "mine.py:make", "parts.json", "--size", "32")


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Work where a part is marked in two pictures."""
    marked = {f"pictures/{name}.png": {"left eye": [8, 8, 20, 20]} for name in ("a/000", "b/001")}
    Path("parts.json").write_text(json.dumps({"images": marked}))


def test_what_is_said_is_what_is_saved(capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--weights", "w.safetensors", "--random", "3", "--layers", "relu1,relu2", "--save", "n")
    assert run(*MASK, *own) == 0
    words = " ".join(capsys.readouterr().out.split())
    found = Correspondence.load("n")
    assert found.layers == ("relu1", "relu2")
    for layer in found.layers:
        (every, _), (changed, _) = (found.delta(layer, "left eye", own) for own in ("all", "changed"))
        p = found.p_value(layer, "left eye", "all", "random")
        assert f"left eye all {every:.3f}±" in words
        assert f" changed {changed:.3f}±" in words
        assert p is not None
        assert f" {p:.2g} " in words
    assert " 2 images. Share of entries whose sign differs" in words
    assert words.endswith("n.json, .npz")


BAD = [
    (("correspond", "mine.py:make", "none.json"), "'none.json'"),
    (("correspond", "mine.py:make", "mine.py"), "'mine.py'"),
    ((*MASK, "--random", "0"), "n_random must be at least 1, got 0"),
    ((*MASK, "--fill", "black"), "a fill is mean, blur, noise, got 'black'"),
    ((*MASK, "-o", "c.gif"), "a figure is written as .png, .webp, .pdf, .svg or .jpg, got 'c.gif'"),
    ((*MASK, "--save", "no/c"), "no such folder: 'no'; make it first"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
