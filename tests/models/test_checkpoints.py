"""Weights as trainers save them: what is used and reported; no code from the file is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backlight.errors import WeightsError
from backlight.models import load_weights
from models.weights import STATE, Runs, Settings, small

HOLDS_NONE = {
    "whole module": (small(), r"a whole pickled module \(torch.nn.modules.container.Sequential\)"),
    "module under a key": ({"model": small(), "epoch": 1}, "a whole pickled module"),
    "numbers as names": (dict(enumerate(STATE.values())), r"names its tensors by numbers \(first 0\)"),
    "list": (list(STATE.values()), "contains no state dict, but a list"),
    "average without names": ({"shadow_params": [torch.ones(1)], "decay": 0.9}, r"its keys: shadow_params, decay"),
    "optimiser": (torch.optim.SGD(small().parameters(), 0.1).state_dict(), r"its keys: state, param_groups"),
    "settings": (Settings(), "but a .*Settings"),
    "tensor": (torch.ones(3), "but a single tensor"),
    "NumPy": ({k: v.numpy() for k, v in STATE.items()}, "but NumPy arrays: convert them with torch.from_numpy"),
    "nothing": ({}, "but an empty dict"),
    "program of 2016": ({"model": Runs()}, "contains no state dict"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOLDS_NONE)
def test_a_file_without_weights_gets_one_line(here: Path, name: str) -> None:
    content, said = HOLDS_NONE[name]
    torch.save(content, "w.pt")
    with pytest.raises(WeightsError, match=said) as raised:
        load_weights(small(), "w.pt", "mine.py:make")
    assert "\n" not in str(raised.value) and "\x1b" not in str(raised.value)
    assert not Path("ran").exists()


def test_a_whole_module_in_the_old_format_is_refused_for_what_it_is(here: Path) -> None:
    torch.save({"model": small()}, "w.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="a whole pickled module"):
        load_weights(small(), "w.pt", "mine.py:make")


FILES = {
    "empty.pt": (b"", r"is empty \(0 bytes\)"),
    "text.pt": (b"hello" * 9, "cannot be read as weights"),
    "zip.pt": (b"PK\x03\x04" + b"0" * 50, "truncated or damaged"),
    "w.onnx": (b"\x08\x07", "is an ONNX graph; weights are a .safetensors file, or what torch.save wrote"),
    "w.npz": (b"PK", "is NumPy arrays"),
    "keras.bin": (b"\x89HDF\r\n", "is an HDF5 file"),
    "page.pth": (b"<!DOCTYPE html>", "is a web page, not the weights"),
    "pointer.pth": (b"version https://git-lfs.github.com", "is a Git LFS pointer"),
    "w.bin.index.json": (b'{"weight_map": {"a": "1", "b": "2"}}', r"split into \(2 files\); load the model with the"),
    "short.safetensors": (b"\x10", "truncated, damaged, or not a safetensors file"),
    "broken.safetensors": (b"\x02" + b"\0" * 7 + b"{]", "truncated, damaged, or not a safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_named_for_what_they_are(here: Path, name: str) -> None:
    content, said = FILES[name]
    Path(name).write_bytes(content)
    with pytest.raises(WeightsError, match=said) as raised:
        load_weights(small(), name, "mine.py:make")
    assert "\n" not in str(raised.value)


def test_a_truncated_file_is_reported_as_such(here: Path) -> None:
    torch.save(STATE, "w.pt")
    whole = Path("w.pt").read_bytes()
    Path("w.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="is truncated or damaged; copy or download it again"):
        load_weights(small(), "w.pt", "mine.py:make")
    with pytest.raises(WeightsError, match="is a folder; give a file in it"):
        load_weights(small(), ".", "mine.py:make")
