"""Capture: from a PyTorch model to one functional ATen graph that shares its weights.

`torch.export` traces the model; `run_decompositions({})` makes the graph functional, so that in-place calls,
reused modules and functions all become plain operators. Writes into the model's input and buffers are left out of
the graph: a captured network returns answers and changes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols, is_concrete_int

from backlight.errors import CaptureError
from backlight.network.activations import recognise_activations
from backlight.network.batches import fixed_number, for_any_number, same_for_each_image
from backlight.network.names import other_paths
from backlight.network.quiet import quiet_torch
from backlight.network.refusals import INDEPENDENT, explain_failed_trace, reason_before_tracing
from backlight.network.tracing import Trace, trace
from backlight.operators.reading import aten, operator_name

OLDEST_TORCH = (2, 9)


def export_graph(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return a functional graph of the model's inference, with one tensor input and without copying weights.

    The graph returns a flat tuple; `meta["out_spec"]` of its output node describes the model's own containers.
    The module's `meta["remarks"]` lists what the user should know about the model, and `meta["other_paths"]` the
    further paths of modules that are registered more than once.

    Args:
        model: Any module that takes one image batch. It is put into inference mode for the capture and then
            restored exactly.
        example: A batch (n, c, h, w) on the model's device; only its shape and dtype matter.

    Raises:
        CaptureError: torch.export cannot trace the model; names the line of its forward. Or the graph would be valid
            for one number of images only.
    """
    version: Any = torch.__version__
    if version < OLDEST_TORCH:
        raise CaptureError(
            f"capturing a model takes torch {'.'.join(map(str, OLDEST_TORCH))} or newer, got {version}; "
            "upgrade torch and torchvision with pip"
        )
    reason = reason_before_tracing(model, example)
    if reason is not None:
        raise CaptureError(reason)
    with _silence():
        plain = _graph_for_any_number(model, example)
    sized_by_values = next((node for node in plain.graph.nodes if _has_size_from_values(node)), None)
    if sized_by_values is not None:
        raise CaptureError(
            f"{type(model).__name__} makes a tensor whose size depends on values ({operator_name(sized_by_values)}), "
            "as x[:, :, mask] does; index with integers computed beforehand, or multiply by the mask"
        )
    plain.meta["other_paths"] = other_paths(model)
    return plain


def _graph_for_any_number(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return the graph for any number of images.

    The model is traced with two images, so that their number stays symbolic. If that fails, or fixes the number all
    the same, a graph for the number of images that works is made independent of it afterwards.
    """
    batch = example.repeat(2, *[1] * (example.dim() - 1)) if len(example) == 1 else example
    program: nn.Module = model
    n_images = fixed_number(model) if isinstance(model, fx.GraphModule) else None
    if n_images is None:
        try:
            traced, n_images = trace(model, batch), len(batch)
        except Exception as error:
            found = _trace_of_one(model, example)
            if found is None:
                # its text says all that these hundreds of lines would; `--debug` shows them
                raise CaptureError(explain_failed_trace(model, example, error)) from None
            traced, n_images = found, 1
        plain = _without_write_backs(traced)
        if _takes_any_number(plain, batch):
            return plain
        program = traced.module
    assert isinstance(program, fx.GraphModule)
    generalised = _generalised(program, n_images, batch)
    if generalised is None:
        raise CaptureError(_why_one_number_only(model, program is model, n_images, example))
    return generalised


def _trace_of_one(model: nn.Module, example: Tensor) -> Trace | None:
    try:
        return trace(model, example[:1])
    except Exception:
        return None


def _generalised(program: fx.GraphModule, n_images: int, batch: Tensor) -> fx.GraphModule | None:
    """Return the graph of a program for `n_images`, made valid for any number; None if its answers would differ."""
    generalised = for_any_number(program, n_images)
    try:
        plain = _without_write_backs(trace(generalised, batch))
    except Exception:  # contradictory sizes; torch raises many kinds of error for them
        return None
    fits = _takes_any_number(plain, batch) and same_for_each_image(plain, program, batch, n_images)
    return plain if fits else None


def _why_one_number_only(model: nn.Module, is_program: bool, n_images: int, example: Tensor) -> str:
    name = type(model).__name__
    if is_program:
        size = ", ".join(map(str, example.shape[1:]))
        return (
            f"the program takes {n_images} image{'s' * (n_images > 1)} at a time; export it for any number: "
            f"torch.export.export(model, (torch.rand(2, {size}),), dynamic_shapes=({{0: torch.export.Dim.AUTO}},))"
        )
    return (
        f"{name} makes the number of images a constant in its forward, as len(x) or view(1, -1) does; "
        "write x.shape[0] there (torch.take_along_dim does the same; use gather)"
    )


def _takes_any_number(plain: fx.GraphModule, batch: Tensor) -> bool:
    """Return whether a graph runs on any number of images; tried with three if tracing made the number a constant."""
    (pixels,) = plain.graph.find_nodes(op="placeholder")
    if not is_concrete_int(pixels.meta["val"].shape[0]):
        return True
    with torch.no_grad():
        try:
            outputs = plain(batch.new_zeros(3, *batch.shape[1:]))
        except RuntimeError:
            return False
    return all(len(out) == 3 for out in outputs if isinstance(out, Tensor))


def _without_write_backs(traced: Trace) -> fx.GraphModule:
    """Return the graph without guards and write-backs, over detached views of the weights (the same memory)."""
    root = nn.Module()
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in traced.module.graph.nodes:
        if node.op == "call_module" or operator_name(node).startswith("_assert"):  # torch.export's own checks
            continue
        if node.op == "get_attr":
            copies[node] = _weight(traced.module, node, root, graph)
        elif (
            node.target is aten.copy_.default
        ):  # a write into the input or a buffer; everything else is functional
            copies[node] = copies[node.args[1]]
        elif node.target is aten.detach.default and _is_tracers_detach(node):
            copies[node] = copies[node.args[0]]
        else:
            copies[node] = graph.node_copy(node, lambda n: copies[n])
            if node.target in _READ_IN_MEMORY_ORDER:
                copies[node].args = (_contiguous_input(copies[node], graph), *copies[node].args[1:])
            copies[node].target = _SAME_VALUES.get(node.target, node.target)
    (returned,) = graph.find_nodes(op="output")
    returned.meta["out_spec"] = traced.out_spec
    graph.eliminate_dead_code()
    recognise_activations(graph)
    plain = fx.GraphModule(root, graph)
    plain.graph.lint()
    plain.meta["remarks"] = traced.remarks
    return plain.eval()


_READ_IN_MEMORY_ORDER = {aten.as_strided.default, aten.kron.default}
"""Operators that read their first operand in its order in memory, or refuse operands that are not contiguous."""

_SAME_VALUES = {
    # A view needs strides that fit; those of a run may differ from those of the trace.
    aten.view.default: aten.reshape.default,
    aten._unsafe_view.default: aten.reshape.default,
    # Projections need the signal of everything that the unit reads, even where the model stops its training.
    aten.detach.default: aten.alias.default,
}


def _has_size_from_values(node: fx.Node) -> bool:
    """Return whether a size of a node's tensor is only known when it runs, such as the number of ones in a mask."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and bool(free_unbacked_symbols(value))


def _contiguous_input(node: fx.Node, graph: fx.Graph) -> fx.Node:
    """Return the first input of a node, made contiguous so that the memory layout of a run does not matter."""
    below: Any = node.args[0]
    if not below.meta["val"].is_contiguous():  # the model chose this order itself, so it must stay
        return below  # type: ignore[no-any-return]
    with graph.inserting_before(node):
        copied = graph.call_function(aten.clone.default, (below,), {"memory_format": torch.contiguous_format})
    copied.meta = dict(below.meta)
    return copied


def _is_tracers_detach(node: fx.Node) -> bool:
    """Return whether a detach was added by the tracer after another call, and is not one of the model's own."""
    below = node.args[0]
    return isinstance(below, fx.Node) and node.meta.get("torch_fn") == below.meta.get("torch_fn")


def _weight(module: fx.GraphModule, node: fx.Node, root: nn.Module, graph: fx.Graph) -> fx.Node:
    """Return the new graph's node for a weight, which becomes a buffer of `root`."""
    value: object = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    if not isinstance(value, Tensor):
        raise CaptureError(f"the model contains {node.target!r}, which is not a tensor; {INDEPENDENT}")
    root.register_buffer(node.name, value.detach())
    found = graph.get_attr(node.name)
    found.meta = {**node.meta, "val": value.detach(), "parameter": str(node.target)}
    return found


@contextmanager
def _silence() -> Iterator[None]:
    discarded = io.StringIO()
    with quiet_torch(), redirect_stdout(discarded), redirect_stderr(discarded):
        yield
