"""Refusals: one line that says what stopped a capture, at which line of the user's code, and what to do."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Sequence
from pathlib import Path

import jaxtyping
import torch
from torch import Tensor, fx, nn

from backlight.errors import first_line
from backlight.network.eager import arguments_of, run_eagerly
from backlight.network.names import TORCH_FOLDER

INDEPENDENT = (
    "make that line independent of the values in the tensor (torch.where for an if, tensor methods for numpy), "
    "or capture the part of the model below it"
)
_READS_VALUES = re.compile(r"data-dependent|data dependent|numpy|\.item\(|\.tolist\(|DynamicOutputShape")
_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
_NOT_THE_USERS = (  # code between the model's lines and torch's, which is of no help to a user
    TORCH_FOLDER,
    str(Path(jaxtyping.__file__).parent),
    str(Path(traceback.__file__).parent / "contextlib.py"),
    *(str(Path(__file__).parent / name) for name in ("capture.py", "tracing.py", "eager.py", "refusals.py")),
    "<",
)


def reason_before_tracing(model: nn.Module, example: Tensor) -> str | None:
    """Return why a model cannot be captured, if its type or the signature of its forward already says so."""
    if isinstance(model, torch.jit.ScriptModule):
        return (
            f"{type(model).__name__} is TorchScript, which torch.export does not take; "
            "capture the Python model that it was made from"
        )
    size = _exported_size(model)
    if size is not None and size != tuple(example.shape[1:]):
        return (
            f"the program was exported for images of {_by_x(size)}, got {_by_x(example.shape[1:])}; "
            "give the size that it was exported for"
        )
    return _refused_signature(model) or _refused_quantisation(model)


def _refused_signature(model: nn.Module) -> str | None:
    name = type(model).__name__
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [a for a in arguments_of(model) if a.default is a.empty and a.kind not in variadic]
    if len(needed) > 1:
        names = ", ".join(a.name for a in needed)
        return (
            f"{name} takes {len(needed)} inputs ({names}), and Backlight gives one batch of images; "
            "capture a module whose forward(x) calls it with the other inputs fixed"
        )
    if needed and needed[0].kind is inspect.Parameter.KEYWORD_ONLY:
        keyword = needed[0].name
        return (
            f"{name} takes its input by keyword only ({keyword}=), and Backlight gives it by position; "
            f"capture a module whose forward(x) calls it with {keyword}=x"
        )
    return None


def _refused_quantisation(model: nn.Module) -> str | None:
    name = type(model).__name__
    for path, module in model.named_modules():
        if any(kind.__name__ == "FakeQuantizeBase" for kind in type(module).__mro__):
            return (
                f"{name} simulates quantisation (first at {path!r}), which has no rule; "
                "capture the float model from before torch's prepare or prepare_qat"
            )
    for path, module in model.named_modules():
        if type(module).__module__.startswith(_QUANTISED):
            return (
                f"{name} is quantised (first at {path!r}), and nothing can be projected through packed weights; "
                "capture the float model that it was made from"
            )
    return None


def explain_failed_trace(model: nn.Module, example: Tensor, error: Exception) -> str:
    """Return one line that says why torch.export could not trace a model.

    Args:
        model: The model.
        example: Its input, a batch (n, c, h, w).
        error: The error of torch.export.
    """
    name = type(model).__name__
    shape = _by_x(example.shape[1:])
    # An error that the model also raises in plain Python explains more than torch.export's.
    eager = _eager_error(model, example)
    place = _users_line(eager or error)
    reason = first_line(eager or error)
    at = f"stopped at {place} ({reason})" if place else reason
    if eager is not None:
        return _refused_input(name, shape, at, eager, place)
    if "not a known type" in str(error) or "pytree" in str(error):
        returned = re.search(r"Found <class '([^']+)'>", str(error))
        kind = returned[1].rpartition(".")[2] if returned else "an object"
        return (
            f"{name} returns {kind}, which torch cannot take apart; return tensors, tuples or dicts, "
            "or call torch.export.register_dataclass on a dataclass"
        )
    if _READS_VALUES.search(f"{type(error).__name__} {error}"):
        return f"{name} could not be captured: {at}; {INDEPENDENT}"
    return (
        f"{name} could not be captured with an input of {shape}: {at}; "
        "torch.export cannot trace that line; write it differently, or capture the part of the model below it"
    )


def _refused_input(name: str, shape: str, at: str, error: Exception, place: str) -> str:
    """Return the line for a model that does not run in plain Python either."""
    text = str(error)
    channels = re.search(r"to have (\d+) channels, but got (\d+) channels", text)
    if channels:
        return (
            f"{name} does not take an input of {shape}: it takes {_n_channels(channels[1])}, got {channels[2]} "
            f"({place or 'in its forward'}); give an example with {_n_channels(channels[1])}"
        )
    if isinstance(error, (TypeError, KeyError, IndexError, AttributeError)) and re.search(
        r"\[\s*[\"']|\.(keys|values|items|get)\(", place
    ):
        return (
            f"{name} takes a dict, and Backlight gives one batch of images: {at}; "
            "capture a module whose forward(x) makes the dict from x"
        )
    if re.search(r"tuple of Tensors, not Tensor|list of Tensors, not Tensor", text):
        return (
            f"{name} takes a list of tensors, and Backlight gives one batch of images: {at}; "
            "capture a module whose forward(x) makes the list from x"
        )
    if re.search(r"dtype|scalar type|should be the same|Input type", text):
        return (
            f"{name} does not take numbers of this type: {at}; "
            "convert the whole model to one dtype first, for example with model.float()"
        )
    if isinstance(error, (AttributeError, NameError, ImportError, NotImplementedError)):
        return f"{name} fails when it runs: {at}; fix that line first"
    return f"{name} does not take an input of {shape}: {at}; give the size that the model was trained with"


def _exported_size(model: nn.Module) -> tuple[int, ...] | None:
    """Return (c, h, w) of the images that an exported program takes; None if that is left open."""
    pixels = model.graph.find_nodes(op="placeholder") if isinstance(model, fx.GraphModule) else []
    value = pixels[0].meta.get("val") if len(pixels) == 1 else None
    if not isinstance(value, Tensor) or any(type(size) is not int for size in value.shape[1:]):
        return None
    return tuple(value.shape[1:])


def _by_x(sizes: Sequence[int]) -> str:
    """Return sizes as they are written in messages: 3x224x224."""
    return "x".join(map(str, sizes))


def _n_channels(count: str) -> str:
    return f"{count} channel{'s' * (count != '1')}"


def _eager_error(model: nn.Module, example: Tensor) -> Exception | None:
    try:
        run_eagerly(model, example)
    except Exception as error:
        return error
    return None


def _users_line(error: Exception) -> str:
    """Return the last line of the user's code in a traceback: `model.py:12 in forward: ...`; empty if none."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_NOT_THE_USERS)
    ]
    if not frames:
        return ""
    at = frames[-1]
    return f"{Path(at.filename).name}:{at.lineno} in {at.name}: `{(at.line or '').strip()}`"
