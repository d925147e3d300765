"""What the tests of commands share: a folder with a model, its weights and pictures."""

from __future__ import annotations

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
    (tmp_path / "mine.py").write_text(MODEL_FILE.format(tests=str(Path(__file__).parents[1])))
    torch.manual_seed(0)
    save_file(SmallNet().state_dict(), tmp_path / "w.safetensors")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in SmallNet().state_dict().items()}}, tmp_path / "w.pt"
    )
    make_pictures(tmp_path / "pictures", 12)
    monkeypatch.chdir(tmp_path)
    return tmp_path
