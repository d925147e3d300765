"""Which state dict of a file fits a model, and with which prefix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backlight.errors import WeightsError
from backlight.models import load_weights
from models.weights import OTHER, STATE, holds, prefixed, small


def test_prefixes_are_stripped_from_safetensors_under_any_suffix(here: Path) -> None:
    save_file(prefixed("model."), "w.bin")
    model = small()
    assert "prefix 'model.'" in (load_weights(model, "w.bin", "mine.py:make") or "")
    assert holds(model)


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
