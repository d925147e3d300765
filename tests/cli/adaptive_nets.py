"""What the tests of `backlight adaptive fit` and `show` share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backlight.adaptive import AdaptiveConfig, AdaptiveDeconvNet, Block, LayerConfig
from cli.running import run

_BLOCKS = Block(2, 2, 2), Block(2, 2, 1)
LIVELY = AdaptiveConfig(
    tuple(LayerConfig(4, filter=3, block=block, weight=20.0) for block in _BLOCKS), size=(24, 28)
)
NAMES = (
    "filters.png",
    "layer1.png",
    "layer2.png",
    "reconstructions.png",
    "decomposition.png",
    "switches.png",
    "tree.png",
)
"""What `show` writes of a network of two layers, in its order."""


def written(folder: str = "out") -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def save(config: AdaptiveConfig, name: str = "m.adn") -> None:
    torch.manual_seed(0)
    net = AdaptiveDeconvNet(config, seed=1)
    net.estimate_norms(torch.randn(4, 1, *config.size))
    net.save(name)


def check_refused(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str) -> None:
    """Check that a command ends in one clear line and with exit code 2, and begins no work."""
    Path("empty").mkdir()
    save(LIVELY)
    before = Path("m.adn").read_bytes()
    assert run(*arguments) == 2
    caught = capsys.readouterr()
    lines = caught.err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert text in lines[0]
    assert caught.out == ""  # no work was begun
    assert not Path("out").exists()
    assert Path("m.adn").read_bytes() == before
