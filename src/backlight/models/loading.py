"""Loading a weights file into a model, and reporting what was chosen, stripped, converted and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backlight.errors import WeightsError
from backlight.models.checkpoints import StateDict, read_state_dicts
from backlight.models.fitting import Fit, best_fit, is_counter
from backlight.models.misfits import explain_misfit


def load_weights(model: nn.Module, path: str, spec: str) -> str | None:
    """Load a weights file into a model.

    Args:
        model: The model; the weights are converted to its own dtypes.
        path: The file, in any of the forms that trainers save; no code from it is run.
        spec: The model's name in messages.

    Returns:
        One line that says what was chosen, stripped, converted and left out; None for a plain state dict.

    Raises:
        WeightsError: The file cannot be read, or its tensors do not fit the model.
    """
    states = read_state_dicts(path)
    return fill(model, best_fit(model, states, path, spec), states, path, spec)


def fill(model: nn.Module, fit: Fit, states: Sequence[StateDict], path: str, spec: str) -> str | None:
    """Copy the weights of a fit into a model.

    Args:
        model: The model that the fit belongs to.
        fit: The weights to copy.
        states: All state dicts of the file.
        path: The file, for messages.
        spec: The model, for messages.

    Returns:
        One line of remarks, as for `load_weights`.

    Raises:
        WeightsError: They do not fit; names the tensors and the likely reason.
    """
    if not fit.is_whole:
        raise WeightsError(f"{path!r} does not fit {spec}: {explain_misfit(fit)}")
    model.load_state_dict({name: _converted(name, fit, path) for name in fit.found}, strict=False)
    notes = [*_choice(fit, states), *_conversions(fit), *_left_out(fit)]
    return f"{path!r}: {'; '.join(notes)}" if notes else None


def _converted(name: str, fit: Fit, path: str) -> Tensor:
    """Return a tensor in the form that the model takes: dense and in the model's shape.

    Raises:
        WeightsError: It has no values, or a dtype that cannot be converted.
    """
    tensor, own = fit.found[name], fit.own[name]
    if tensor.is_meta:
        raise WeightsError(
            f"{path!r} has no values for {name!r} (it is on the meta device); save real weights"
        )
    if tensor.is_quantized or own.is_floating_point() != tensor.is_floating_point():
        raise WeightsError(
            f"{path!r} has {name!r} as {_dtype(tensor)}, the model as {_dtype(own)}: the file belongs to a quantised "
            "model; save the weights before quantisation"
        )
    dense = tensor.to_dense() if tensor.layout != torch.strided else tensor
    return dense.reshape(own.shape) if dense.numel() == own.numel() else own


def _choice(fit: Fit, states: Sequence[StateDict]) -> list[str]:
    notes = []
    if fit.state.place:
        notes.append(f"the weights under {fit.state.place!r} are used")
    # State dicts with at least as many tensors could have been meant as well.
    rivals = [s.place or "the top" for s in states if s is not fit.state and len(s.tensors) >= len(fit.found)]
    if rivals:
        notes.append(f"those under {', '.join(map(repr, rivals[:3]))} are not")
    if fit.prefix:
        notes.append(f"the prefix {fit.prefix!r} of the names is stripped")
    notes += fit.remarks
    if fit.is_averaged:
        notes.append("they are a running average (EMA) of the weights")
    return notes


def _conversions(fit: Fit) -> list[str]:
    kinds = Counter((_dtype(v), _dtype(fit.own[k])) for k, v in fit.found.items() if not is_counter(k))
    notes = [f"{n} {_tensors(n)} of {a} became {b}" for (a, b), n in kinds.items() if a != b]
    sparse = [name for name, v in fit.found.items() if v.layout != torch.strided]
    return notes + ([f"{len(sparse)} sparse {_tensors(len(sparse))} became dense"] if sparse else [])


def _left_out(fit: Fit) -> list[str]:
    notes = []
    if fit.extra:
        parts = list(dict.fromkeys(name.partition(".")[0] + "." for name in fit.extra if "." in name))
        n = len(fit.extra)
        notes.append(
            f"{n} {_tensors(n)} that the model does not have left out ({_first_names(parts or fit.extra)})"
        )
    kept = [k for k in fit.own if k not in fit.found and k in fit.integers and not is_counter(k)]
    if kept:
        notes.append(
            f"integer tensors that the file lacks kept as the model made them ({_first_names(kept)})"
        )
    if fit.state.others:
        notes.append(f"entries that are not tensors left out ({_first_names(fit.state.others)})")
    return notes


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")


def _tensors(count: int) -> str:
    return "tensor" if count == 1 else "tensors"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
