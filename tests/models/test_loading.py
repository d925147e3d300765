"""Weights that fit: what is used, converted and left out is reported in one line."""

from __future__ import annotations

import argparse
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backlight.errors import WeightsError
from backlight.models import load_weights
from models.weights import OTHER, STATE, Settings, State, holds, prefixed, small


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


def test_half_weights_become_the_numbers_of_the_model(here: Path) -> None:
    torch.save({k: v.bfloat16() if v.is_floating_point() else v for k, v in STATE.items()}, "w.pt")
    model = small()
    assert "8 tensors of bfloat16 became float32" in (load_weights(model, "w.pt", "mine.py:make") or "")
    assert model[0].weight.dtype == torch.float32
    assert torch.equal(model[0].weight, STATE["0.weight"].bfloat16().float())


@pytest.mark.filterwarnings("ignore:.*quantized:UserWarning")
def test_quantised_tensors_are_refused(here: Path) -> None:
    quantised = torch.quantize_per_tensor(STATE["4.weight"], 0.1, 0, torch.qint8)
    torch.save(STATE | {"4.weight": quantised}, "w.pt")
    with pytest.raises(
        WeightsError, match=r"'4.weight' as qint8, the model as float32: the file belongs to a quantised"
    ):
        load_weights(small(), "w.pt", "mine.py:make")


NOT_THESE = {
    "integers": (STATE | {"4.weight": STATE["4.weight"].to(torch.int8)}, "'4.weight' as int8, the model as float32"),
    "meta": (STATE | {"4.weight": STATE["4.weight"].to("meta")}, "no values for '4.weight'"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_THESE)
def test_tensors_that_cannot_be_converted_get_one_line(here: Path, name: str) -> None:
    content, said = NOT_THESE[name]
    torch.save(content, "w.pt")
    with pytest.raises(WeightsError, match=said) as raised:
        load_weights(small(), "w.pt", "mine.py:make")
    assert "\n" not in str(raised.value) and "\x1b" not in str(raised.value)
