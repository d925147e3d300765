"""Capture: from a PyTorch model to one functional ATen graph that shares its weights.

`torch.export` traces the model; `run_decompositions({})` makes the graph functional, so that in-place calls,
re-used modules and functions all become plain operators.
"""

from __future__ import annotations

import io
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.export import Dim
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from backlight.errors import CaptureError
from backlight.network.names import TORCH_FOLDER
from backlight.network.operators import aten, operator_name
from backlight.network.quiet import quiet_torch

_ADVICE = (
    "make that line independent of the values in the tensor (torch.where for an if, tensor methods for numpy), "
    "or capture the part of the model below it"
)


def export_graph(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return a functional graph of the model's inference with one tensor input, its weights not copied.

    The graph returns a flat tuple; `meta["out_spec"]` of its output node puts the model's own containers together.

    Args:
        model: Any module that takes one image batch. It is put into inference mode for the capture and put
            back exactly as it was.
        example: A batch (n, c, h, w) on the model's device; only its shape and type matter.

    Raises:
        CaptureError: torch.export cannot take the model; names the line of its forward. Or the graph would hold
            for one number of images only.
    """
    batch = example.repeat(2, *[1] * (example.dim() - 1)) if len(example) == 1 else example
    swallowed = io.StringIO()
    with _inference_mode(model), quiet_torch(), redirect_stdout(swallowed), redirect_stderr(swallowed):
        try:
            program = torch.export.export(model, (batch,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
            module = program.run_decompositions({}).module(check_guards=False)
        except Exception as error:
            raise CaptureError(_explain(model, example, error)) from error
    plain = _plain(module)
    (returned,) = plain.graph.find_nodes(op="output")
    returned.meta["out_spec"] = program.call_spec.out_spec
    if not _takes_any_number(plain, batch):
        raise CaptureError(
            f"{type(model).__name__} makes the number of images a constant in its forward, as len(x) does; "
            "write x.shape[0] there (torch.take_along_dim does so too; use gather)"
        )
    return plain


def _takes_any_number(plain: fx.GraphModule, batch: Tensor) -> bool:
    """Return whether a graph runs on another number of images than its example; tried only where tracing fixed it."""
    (pixels,) = plain.graph.find_nodes(op="placeholder")
    if not is_concrete_int(pixels.meta["val"].shape[0]):
        return True
    with torch.no_grad():
        try:
            outputs = plain(batch.new_zeros(3, *batch.shape[1:]))
        except RuntimeError:
            return False
    return all(len(out) == 3 for out in outputs if isinstance(out, Tensor))


def _plain(module: fx.GraphModule) -> fx.GraphModule:
    """Return the graph without guards, over detached views of the weights (the same memory)."""
    root = nn.Module()
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in module.graph.nodes:
        if node.op == "call_module" or operator_name(node).startswith("_assert"):  # torch.export's own checks
            continue
        if node.op == "get_attr":
            tensor = _attribute(module, str(node.target))
            if not isinstance(tensor, Tensor):
                raise CaptureError(f"the model holds {node.target!r}, which is no tensor; {_ADVICE}")
            root.register_buffer(node.name, tensor.detach())
            copies[node] = graph.get_attr(node.name)
            copies[node].meta = {**node.meta, "val": tensor.detach(), "parameter": str(node.target)}
        else:
            copies[node] = graph.node_copy(node, lambda n: copies[n])
            if node.target in (
                aten.view.default,
                aten._unsafe_view.default,
            ):  # the strides seen while tracing need not be those of a run
                copies[node].target = aten.reshape.default
    graph.eliminate_dead_code()
    plain = fx.GraphModule(root, graph)
    plain.graph.lint()
    return plain.eval()


def _attribute(module: nn.Module, target: str) -> object:
    value: object = module
    for part in target.split("."):
        value = getattr(value, part)
    return value


@contextmanager
def _inference_mode(model: nn.Module) -> Iterator[None]:
    """Put every submodule into eval mode and afterwards back into the mode that it was in."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            module.training = False
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def _explain(model: nn.Module, example: Tensor, error: Exception) -> str:
    """Return one line: what stopped the capture, at which line of the user's code, what to do."""
    name = type(model).__name__
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    shape = "x".join(str(s) for s in example.shape[1:])
    if not frames:
        return f"{name} could not be captured with an input of {shape}: {reason}; {_ADVICE}"
    at = frames[-1]
    place = f"{Path(at.filename).name}:{at.lineno} in {at.name}: `{(at.line or '').strip()}`"
    if _runs_eagerly(model, example):
        return f"{name} could not be captured: stopped at {place} ({reason}); {_ADVICE}"
    return (
        f"{name} does not take an input of {shape}: stopped at {place} ({reason}); "
        "give the size that the model was trained with"
    )


def _is_users(filename: str) -> bool:
    return not (filename.startswith((TORCH_FOLDER, "<")) or filename == __file__)


def _runs_eagerly(model: nn.Module, example: Tensor) -> bool:
    try:
        with torch.no_grad():
            model(example)
    except Exception:
        return False
    return True
