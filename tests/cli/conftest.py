"""What the tests of commands share: a folder with a model, its weights and pictures, and an atlas of it."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from conftest import SmallNet, make_pictures

MODEL_FILE = """
import sys
sys.path.insert(0, {tests!r})
from conftest import SmallNet

def make():
    return SmallNet()

def number():
    return 3
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a model file, its weights, and 12 pictures, and go there."""
    _fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def built(workplace: Path, _atlas: Path) -> Path:
    """Return the workplace, with an atlas of it: two feature maps of each of its two layers."""
    shutil.copy(_atlas, "a.atlas")
    return workplace


@pytest.fixture(scope="session")
def _atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cli.running import BUILD, run  # imported before pytest has hooked types in, nothing would be checked

    folder = tmp_path_factory.mktemp("built")
    _fill(folder)
    with contextlib.chdir(folder):
        assert run(*BUILD, "--maps", "2") == 0
    return folder / "a.atlas"


def _fill(folder: Path) -> None:
    (folder / "mine.py").write_text(MODEL_FILE.format(tests=str(Path(__file__).parents[1])))
    torch.manual_seed(0)
    save_file(SmallNet().state_dict(), folder / "w.safetensors")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in SmallNet().state_dict().items()}}, folder / "w.pt"
    )
    make_pictures(folder / "pictures", 12)
