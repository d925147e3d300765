"""Weights as trainers save them: what is used and reported; no code from the file is run."""

from __future__ import annotations

import argparse
import io
import os
import resource
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backlight.errors import WeightsError
from backlight.models import inert, load_weights

State = dict[str, Any]


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))


TORCH_RANDOM = torch.Generator().manual_seed(3)
STATE: dict[str, Tensor] = {
    k: torch.randn(v.shape, generator=TORCH_RANDOM) if v.is_floating_point() else v
    for k, v in small().state_dict().items()
}
OTHER = {k: v + 1 for k, v in STATE.items()}


def prefixed(prefix: str, state: State = STATE) -> State:
    return {prefix + k: v for k, v in state.items()}


class Settings:
    """Hyper-parameters of a trainer, whose state would be set by code."""

    def __init__(self) -> None:
        self.rate = 0.1

    def __setstate__(self, state: object) -> None:
        Path("ran").touch()


class Runs:
    """Runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


class RunsPython:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("open('ran', 'w')",)


class EasyDict(dict[str, Any]):
    pass


LIGHTNING = {
    "state_dict": prefixed("model.") | {"criterion.weight": torch.ones(3)},
    "hyper_parameters": argparse.Namespace(rate=np.float64(0.1), folder=PurePosixPath("runs")),
    "callbacks": {Settings: {"best": np.ones(2)}},
    "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(4, 3, 3, 3)}}}],
    "epoch": 3,
}

TAKEN: dict[str, tuple[State, str]] = {
    "Lightning": (LIGHTNING, "under 'state_dict' are used; the prefix 'model.' of the names is stripped; 1 tensor"),
    "DataParallel": (prefixed("module."), "prefix 'module.'"),
    "compiled": (prefixed("_orig_mod."), "prefix '_orig_mod.'"),
    "both": (prefixed("module._orig_mod."), "prefix 'module._orig_mod.'"),
    "wrapped inside": ({k.replace(".", "._orig_mod.", 1): v for k, v in STATE.items()}, "'_orig_mod.', are ignored"),
    "backbone": (prefixed("encoder.backbone.") | {"head.weight": torch.ones(2)}, "left out ('head.')"),
    "key net": ({"net": STATE, "accuracy": 93.0}, "under 'net'"),
    "two deep": ({"checkpoint": {"model_state": STATE}}, "under 'checkpoint.model_state'"),
    "its own class of dict": ({"model": EasyDict(STATE), "settings": Settings()}, "under 'model'"),
    "averaged only": ({"ema": {"state_dict": STATE}}, "running average (EMA)"),
    "weights and average": ({"params_ema": OTHER, "params": STATE}, "those under 'params_ema' are not"),
    "average by prefix": (
        prefixed("ema_model.", OTHER) | prefixed("online_model.") | {"step": torch.tensor(3)},
        "prefix 'online_model.'",
    ),
    "student of another size": ({"student": STATE, "teacher": {"0.weight": torch.ones(9)}}, "under 'student'"),
    "averaged model": (prefixed("module.") | {"n_averaged": torch.tensor(7)}, "prefix 'module.'"),
    "profiled": (STATE | {"total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)}, ""),
    "sparse": (STATE | {"4.weight": STATE["4.weight"].to_sparse()}, "1 sparse tensor became dense"),
    "double": (
        {k: v.double() if v.is_floating_point() else v for k, v in STATE.items()},
        "8 tensors of float64 became float32",
    ),
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def holds(model: nn.Module, state: State = STATE) -> bool:
    return all(torch.equal(v, state[k].to(v.dtype)) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", TAKEN)
def test_weights_are_found_and_what_was_done_is_reported(here: Path, name: str) -> None:
    content, said = TAKEN[name]
    torch.save(content, "w.pt")
    model = small()
    note = load_weights(model, "w.pt", "mine.py:make")
    assert holds(model)
    assert said in (note or "")
    assert "\n" not in (note or "")
    assert not Path("ran").exists()


def test_a_plain_state_dict_needs_no_note(here: Path) -> None:
    torch.save(STATE, "w.pt")
    save_file(STATE, "w.safetensors")
    for path in ("w.pt", "w.safetensors"):
        model = small()
        assert load_weights(model, path, "mine.py:make") is None
        assert holds(model)


def test_prefixes_are_stripped_from_safetensors_under_any_suffix(here: Path) -> None:
    save_file(prefixed("model."), "w.bin")
    model = small()
    assert "prefix 'model.'" in (load_weights(model, "w.bin", "mine.py:make") or "")
    assert holds(model)


@pytest.mark.parametrize("options", [{"pickle_protocol": 5}, {"_use_new_zipfile_serialization": False}])
def test_what_is_pickled_beside_the_weights_is_not_run(here: Path, options: dict[str, Any]) -> None:
    torch.save(
        {"a": Runs(), "b": RunsPython(), "model": STATE, "c": Settings(), "d": {Settings: [Runs()]}},
        "w.pt",
        **options,
    )
    model = small()
    load_weights(model, "w.pt", "mine.py:make")
    assert holds(model)
    assert not Path("ran").exists()


def test_a_file_that_announces_billions_of_objects_takes_no_room_for_them() -> None:
    announced = b"\x80\x02cargparse\nNamespace\nr\xff\xff\xff\x7f."  # kept as object 2**31 - 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert inert.load(io.BytesIO(announced)).kind == "argparse.Namespace"
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20
    )  # KiB: the pointers alone are 16 GiB


def test_half_weights_become_the_numbers_of_the_model(here: Path) -> None:
    torch.save({k: v.bfloat16() if v.is_floating_point() else v for k, v in STATE.items()}, "w.pt")
    model = small()
    assert "8 tensors of bfloat16 became float32" in (load_weights(model, "w.pt", "mine.py:make") or "")
    assert model[0].weight.dtype == torch.float32
    assert torch.equal(model[0].weight, STATE["0.weight"].bfloat16().float())


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.optim.swa_utils.AveragedModel], ids=["parallel", "averaged"]
)
def test_a_model_that_is_wrapped_takes_plain_weights(
    here: Path, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    torch.save(STATE, "w.pt")
    model = small()
    load_weights(wrap(model), "w.pt", "mine.py:make")
    assert wrap is not nn.DataParallel or holds(model)


def test_the_two_spellings_of_weight_norm_are_one(here: Path) -> None:
    new = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 3)))
    old = {
        "0.bias": torch.ones(2),
        "0.weight_g": torch.rand(2, 1, 1, 1),
        "0.weight_v": torch.rand(2, 3, 3, 3),
    }
    torch.save(old, "w.pt")
    load_weights(new, "w.pt", "mine.py:make")
    assert torch.equal(new.state_dict()["0.parametrizations.weight.original1"], old["0.weight_v"])


class Twice(nn.Module):
    """One convolution under two names, which safetensors keeps under one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Conv2d(3, 2, 3)


def test_a_tensor_with_two_names_may_be_saved_under_one(here: Path) -> None:
    state = {"second.weight": torch.rand(2, 3, 3, 3), "second.bias": torch.rand(2)}
    save_file(state, "w.safetensors")
    model = Twice()
    load_weights(model, "w.safetensors", "mine.py:Twice")
    assert torch.equal(model.first.weight, state["second.weight"])


AMBIGUOUS = {
    "keys": {"student": STATE, "teacher": OTHER},
    "unknown keys": {"a": STATE, "b": OTHER},
    "prefixes": prefixed("student.") | prefixed("teacher.", OTHER),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_two_sets_of_weights_are_not_guessed_between(here: Path, name: str) -> None:
    torch.save(AMBIGUOUS[name], "w.pt")
    with pytest.raises(
        WeightsError, match=r"two sets of weights that fit mine.py:make .* save the state dict of the one"
    ):
        load_weights(small(), "w.pt", "mine.py:make")


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
    "integers": (STATE | {"4.weight": STATE["4.weight"].to(torch.int8)}, "'4.weight' as int8, the model as float32"),
    "meta": (STATE | {"4.weight": STATE["4.weight"].to("meta")}, "no values for '4.weight'"),
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


@pytest.mark.filterwarnings("ignore:.*quantized:UserWarning")
def test_quantised_tensors_are_refused(here: Path) -> None:
    quantised = torch.quantize_per_tensor(STATE["4.weight"], 0.1, 0, torch.qint8)
    torch.save(STATE | {"4.weight": quantised}, "w.pt")
    with pytest.raises(
        WeightsError, match=r"'4.weight' as qint8, the model as float32: the file belongs to a quantised"
    ):
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


class Net(nn.Module):
    def __init__(self, classes: int = 5, depth: int = 1, width: int = 4, inputs: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, 3)
        self.layer1 = nn.Sequential(*[nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)])
        self.fc = nn.Linear(width, classes)


def without(part: str) -> State:
    return {k: v for k, v in Net().state_dict().items() if not k.startswith(part)}


MISFITS = {
    "classes": (Net(classes=9).state_dict(), "'fc.weight' is 9x4, the model has 5x4.* has 9 classes, the model has 5"),
    "width": (Net(width=8).state_dict(), "'conv.weight' is 8x3x3x3, the model has 4x3x3x3.* another width"),
    "inputs": (Net(inputs=1).state_dict(), "'conv.weight' is 4x1x3x3.* another number of input channels"),
    "deeper": (Net(depth=2).state_dict(), r"2 tensors \(first .layer1.1.weight.\) are not part of the model.*larger"),
    "headless": (without("fc"), r"2 tensors \(first 'fc.weight'\) are missing: the file has no 'fc'"),
    "shallower": (without("layer1"), r"first 'layer1.0.weight'\) are missing: the file belongs to a smaller model"),
    "another": (STATE, r"are missing; the file has '0.weight', '0.bias'.* another architecture"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_the_reason_why_weights_do_not_fit_is_reported(here: Path, name: str) -> None:
    state, said = MISFITS[name]
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in state.items()}} if name == "width" else state, "w.pt"
    )
    model = Net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(WeightsError, match=f"'w.pt' does not fit mine.py:Net: .*{said}") as raised:
        load_weights(model, "w.pt", "mine.py:Net")
    assert "\n" not in str(raised.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
