"""Refusals: what stopped a capture, at which line of the user's code, and what to do, in one line."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Sequence
from pathlib import Path

import jaxtyping
import torch
from torch import Tensor, fx, nn

from backlight.network.eager import arguments_of, run_eagerly
from backlight.network.names import TORCH_FOLDER

INDEPENDENT = (
    "make that line independent of the values in the tensor (torch.where for an if, tensor methods for numpy), "
    "or capture the part of the model below it"
)
_READS_VALUES = re.compile(r"data-dependent|data dependent|numpy|\.item\(|\.tolist\(|DynamicOutputShape")
_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
_BETWEEN = (  # what stands between the model's lines and torch's: no place to send a user to
    TORCH_FOLDER,
    str(Path(jaxtyping.__file__).parent),
    str(Path(traceback.__file__).parent / "contextlib.py"),
    *(str(Path(__file__).parent / name) for name in ("capture.py", "tracing.py", "eager.py", "refusals.py")),
    "<",
)


def reason_before_tracing(model: nn.Module, example: Tensor) -> str | None:
    """Return why a model cannot be captured as far as its kind and the arguments of its forward tell; else None."""
    name = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        return (
            f"{name} is TorchScript, which torch.export does not take; "
            "capture the Python model that it was made from"
        )
    needed = _needed_inputs(model)
    if len(needed) > 1:
        return (
            f"{name} takes {len(needed)} inputs ({', '.join(needed)}), and Backlight gives one batch of images; "
            "capture a module whose forward(x) calls it with the other inputs fixed"
        )
    by_keyword = [a.name for a in arguments_of(model) if a.kind is a.KEYWORD_ONLY and a.name in needed]
    if by_keyword:
        return (
            f"{name} takes its input by keyword only ({by_keyword[0]}=), and Backlight gives it by position; "
            f"capture a module whose forward(x) calls it with {by_keyword[0]}=x"
        )
    size = _exported_size(model)
    if size is not None and size != tuple(example.shape[1:]):
        return (
            f"the program was exported for images of {_times(size)}, got {_times(example.shape[1:])}; "
            "give the size that it was exported for"
        )
    fake = [path for path, m in model.named_modules() if _is_fake_quantisation(m)]
    if fake:
        return (
            f"{name} simulates quantisation (first at {fake[0]!r}), which has no rule; "
            "capture the float model from before torch's prepare or prepare_qat"
        )
    packed = [path for path, m in model.named_modules() if type(m).__module__.startswith(_QUANTISED)]
    if packed:
        return (
            f"{name} is quantised (first at {packed[0]!r}): its packed weights are none that a signal could be "
            "projected through; capture the float model that it was made from"
        )
    return None


def explain(model: nn.Module, example: Tensor, error: Exception) -> str:
    """Return one line for a model that torch.export did not take.

    Args:
        model: The model.
        example: The batch that it was given, (n, c, h, w).
        error: What torch.export raised.
    """
    name = type(model).__name__
    shape = _times(example.shape[1:])
    eager = _eager_error(model, example)
    place = _place(eager or error)
    reason = _reason(eager or error)
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
        "torch.export does not take that line: write it otherwise, or capture the part of the model below it"
    )


def _refused_input(name: str, shape: str, at: str, error: Exception, place: str) -> str:
    """Return the line for a model that does not run in Python either."""
    text = str(error)
    channels = re.search(r"to have (\d+) channels, but got (\d+) channels", text)
    if channels:
        return (
            f"{name} does not take an input of {shape}: it reads {channels[1]} channels, got {channels[2]} "
            f"({place or 'in its forward'}); give an example of {channels[1]} channels"
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
            "bring the model to one type first, as model.float() does"
        )
    if isinstance(error, (AttributeError, NameError, ImportError, NotImplementedError)):
        return f"{name} fails when it is run: {at}; mend that line first"
    return f"{name} does not take an input of {shape}: {at}; give the size that the model was trained with"


def _exported_size(model: nn.Module) -> tuple[int, ...] | None:
    """Return (c, h, w) of the images that a program from torch.export takes; None where they are open."""
    pixels = model.graph.find_nodes(op="placeholder") if isinstance(model, fx.GraphModule) else []
    value = pixels[0].meta.get("val") if len(pixels) == 1 else None
    if not isinstance(value, Tensor) or any(type(size) is not int for size in value.shape[1:]):
        return None
    return tuple(value.shape[1:])


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _needed_inputs(model: nn.Module) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [a.name for a in arguments_of(model) if a.default is a.empty and a.kind not in kinds]


def _is_fake_quantisation(module: nn.Module) -> bool:
    return any(kind.__name__ == "FakeQuantizeBase" for kind in type(module).__mro__)


def _eager_error(model: nn.Module, example: Tensor) -> Exception | None:
    try:
        run_eagerly(model, example)
    except Exception as error:
        return error
    return None


def _place(error: Exception) -> str:
    """Return the user's last line in a traceback, `model.py:12 in forward: ...`; empty if there is none."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    if not frames:
        return ""
    at = frames[-1]
    return f"{Path(at.filename).name}:{at.lineno} in {at.name}: `{(at.line or '').strip()}`"


def _is_users(filename: str) -> bool:
    return not filename.startswith(_BETWEEN)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
