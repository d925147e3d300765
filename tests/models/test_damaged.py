"""Weights files and programs with changed, removed or truncated bytes: loaded or refused in one line; nothing runs."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backlight.errors import BadInputError
from backlight.models import load_model, load_weights

N_CHANGES = int(os.environ.get("BACKLIGHT_FUZZ", "12"))


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)).eval()


def write(path: str) -> None:
    checkpoint = {"state_dict": small().state_dict(), "settings": {"folder": Path("runs")}, "other": Runs()}
    if path.endswith(".pt2"):
        batch = {0: torch.export.Dim.AUTO}
        torch.export.save(
            torch.export.export(small(), (torch.zeros(2, 3, 4, 4),), dynamic_shapes=(batch,)), path
        )
    elif path.endswith(".safetensors"):
        save_file(small().state_dict(), path)
    else:
        torch.save(checkpoint, path, _use_new_zipfile_serialization=not path.startswith("old"))


def changed(whole: bytes, draw: random.Random) -> bytes:
    damaged, kind = bytearray(whole), draw.random()
    start = draw.randrange(len(damaged))
    if kind < 0.3:
        return whole[:start]
    if kind < 0.8:
        for _ in range(draw.choice((1, 1, 3, 20))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    else:
        damaged[start : start + draw.randrange(1, 200)] = b"" if kind < 0.9 else draw.randbytes(60)
    return bytes(damaged)


@pytest.mark.parametrize("path", ["w.ckpt", "old.pth", "w.safetensors", "net.pt2"])
def test_damage_is_one_line_or_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(path)
    whole, draw = Path(path).read_bytes(), random.Random(path)
    for _ in range(N_CHANGES):
        Path(path).write_bytes(changed(whole, draw))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load_model(path) if path.endswith(".pt2") else load_weights(small(), path, "mine.py:make")
        except BadInputError as error:
            assert "\n" not in str(error)
    assert not Path("ran").exists()
