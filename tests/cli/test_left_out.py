"""What no layer shows is said by `layers` and `build`: what, where it begins, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.running import run

MODEL = """
import torch
from torch import nn

class Tokens(nn.Module):
    def __init__(self, stem):
        super().__init__()
        self.stem, self.linear, self.act, self.head = stem, nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 2)
    def forward(self, x):
        return self.head(self.act(self.linear(self.stem(x).flatten(2).mT)).mean(1))

def make():
    return Tokens(nn.Conv2d(3, 6, 8, 8)).eval()

def tokens_only():
    return Tokens(Cut()).eval()

class Cut(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], 1)[:, :, ::8, ::8]
"""
WORDS = (
    "linear (linear): its output is tokens (n, 16, 5), not feature maps, and 1 more of this kind behind it"
)


@pytest.fixture
def tokens(workplace: Path) -> Path:
    (workplace / "tokens.py").write_text(MODEL)
    return workplace


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_layers_and_build_say_what_is_left_out(tokens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("layers", "tokens.py:make", "--size", "32") == 0
    out = printed(capsys)
    assert "1 layer with 6 feature maps is shown by default" in out
    assert f"Left out: {WORDS}" in out
    build = ("build", "tokens.py:make", "pictures", "-o", "t.atlas", "--size", "32", "--dry-run")
    assert run(*build) == 0
    assert f"Left out: {WORDS}" in printed(capsys)
    assert run(*build, "--layers", "stem") == 0  # a choice leaves out what it leaves out
    assert "Left out" not in printed(capsys)


def test_a_node_that_is_no_layer_is_told_from_an_unknown_name(
    tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ("build", "tokens.py:make", "pictures", "-o", "t.atlas", "--size", "32", "--layers")
    assert run(*build, "act") == 2
    assert "'act' of Tokens cannot be shown: its output is tokens (n, 16, 5), not feature maps; " in (
        " ".join(capsys.readouterr().err.split())
    )
    assert run(*build, "acts") == 2
    assert "no layer 'acts'" in capsys.readouterr().err


def test_a_network_of_tokens_alone_says_why_it_has_no_layers(
    tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "tokens.py:tokens_only", "pictures", "-o", "t.atlas", "--size", "32") == 2
    assert f"no feature maps to show by default ({WORDS}); " in " ".join(capsys.readouterr().err.split())
    assert run("layers", "tokens.py:tokens_only", "--size", "32") == 0
    out = printed(capsys)
    assert "0 layers" in out
    assert "has a rule" not in out
