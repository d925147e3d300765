"""`backlight layers`: a table or JSON, and bad input in one clear line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas


def test_layers_prints_a_table_and_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("layers", "mine.py:make", "--weights", "w.pt", "--size", "32") == 0
    printed = capsys.readouterr()
    assert re.search(r"relu2 +relu +12 +8x8 +13x13 every 4", printed.out)
    assert "random weights" not in printed.err
    assert run("layers", "mine.py:make", "--size", "32", "--json", "--all") == 0
    printed = capsys.readouterr()
    names = [layer["name"] for layer in json.loads(printed.out)]
    assert names == ["conv1", "relu1", "pool", "conv2", "relu2", "mean", "fc"]


def test_layers_of_an_atlas_are_those_that_it_has(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_tiny_atlas(Path("t.atlas"))
    assert run("layers", "t.atlas") == 0
    title, heads, *lines = capsys.readouterr().out.splitlines()
    assert title.strip() == "t.atlas: Sequential, input 3x12x12"
    assert heads.split() == ["layer", "operator", "maps", "size", "a", "unit", "sees", "shown", "rules"]
    assert lines[0].split() == ["1", "relu", "2", "12x12", "3x3", "every", "1", "2", "deconvnet,", "guided"]
    assert lines[2].split() == ["5", "linear", "2", "-", "whole", "image", "2", "deconvnet,", "guided"]
    assert run("layers", "t.atlas", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(own["name"], own["shown"]) for own in found] == [("1", [0, 1]), ("3", [0, 1]), ("5", [0, 1])]
    check_refused(capsys, ("layers", "t.atlas", "--size", "32"), "are for a model; an atlas has its own")


MISSING = "'w.pt' does not fit torchvision:alexnet: 16 tensors (first 'features.0.weight') are missing"
BAD = [
    (("layers", "gone.atlas"), "no atlas at 'gone.atlas'"),
    (("layers", "torchvision:resnet19"), "torchvision has no model 'resnet19'; did you mean resnet"),
    (("layers", "timm:resnet19"), "timm has no model 'resnet19'"),
    (("layers", "resnet18"), "'resnet18' is not a model; a model is torchvision:NAME"),
    (("layers", "nopackage.models:make"), "No module named 'nopackage'"),
    (("layers", "mine.py:other"), "'mine.py' has no callable 'other'"),
    (("layers", "mine.py:number"), "mine.py:number returned a value of type int, not a torch.nn.Module"),
    (("layers", "gone.py:make"), "no such file: 'gone.py'"),
    (("layers", "gone.pt2"), "no such file: 'gone.pt2'"),
    (("layers", "mine.py:make", "--weights", "gone.pt"), "no such weights file: 'gone.pt'"),
    (("layers", "mine.py:make", "--weights", "mine.py"), "'mine.py'"),
    (("layers", "mine.py:make", "--weights", "DEFAULT"), "has no DEFAULT weights; give a file"),
    (("layers", "torchvision:alexnet", "--weights", "w.pt"), MISSING),
    (("layers", "torchvision:alexnet", "--size", "16"), "AlexNet does not take an input of 3x16x16"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
