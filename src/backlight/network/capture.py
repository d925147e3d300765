"""Capture: from a PyTorch model to one functional ATen graph that shares its weights.

`torch.export` traces the model; `run_decompositions({})` makes the graph functional, so that in-place calls,
re-used modules and functions all become plain operators. What the model writes into its input and its buffers
is left out of the graph: a network answers and changes nothing.
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
from backlight.network.refusals import INDEPENDENT, explain, reason_before_tracing
from backlight.network.tracing import Trace, trace
from backlight.operators.reading import aten, operator_name

OLDEST_TORCH = (2, 9)


def export_graph(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return a functional graph of the model's inference with one tensor input, its weights not copied.

    The graph returns a flat tuple; `meta["out_spec"]` of its output node puts the model's own containers together.
    The module's `meta["remarks"]` has what the user should know of the model, `meta["other_paths"]` the further
    paths of modules that are registered more than once.

    Args:
        model: Any module that takes one image batch. It is put into inference mode for the capture and put
            back exactly as it was.
        example: A batch (n, c, h, w) on the model's device; only its shape and type matter.

    Raises:
        CaptureError: torch.export cannot take the model; names the line of its forward. Or the graph would hold
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
    counted = next((node for node in plain.graph.nodes if _has_counted_size(node)), None)
    if counted is not None:
        raise CaptureError(
            f"{type(model).__name__} makes a tensor whose size its values decide ({operator_name(counted)}), as "
            "x[:, :, mask] does; index with whole numbers made beforehand, or multiply by the mask"
        )
    plain.meta["other_paths"] = other_paths(model)
    return plain


def _graph_for_any_number(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return the graph: traced with two images, else with as many as the model holds for, and then set free."""
    batch = example.repeat(2, *[1] * (example.dim() - 1)) if len(example) == 1 else example
    program: nn.Module = model
    n_images = fixed_number(model) if isinstance(model, fx.GraphModule) else None
    if n_images is None:
        try:
            traced, n_images = trace(model, batch), len(batch)
        except Exception as error:
            found = _trace_of_one(model, example)
            if found is None:
                raise CaptureError(explain(model, example, error)) from error
            traced, n_images = found, 1
        plain = _plain(traced)
        if _takes_any_number(plain, batch):
            return plain
        program = traced.module
    assert isinstance(program, fx.GraphModule)
    freed = _set_free(program, n_images, batch)
    if freed is None:
        raise CaptureError(_one_number(model, program is model, n_images, example))
    return freed


def _trace_of_one(model: nn.Module, example: Tensor) -> Trace | None:
    try:
        return trace(model, example[:1])
    except Exception:
        return None


def _set_free(program: fx.GraphModule, n_images: int, batch: Tensor) -> fx.GraphModule | None:
    """Return the graph of a program for some images, for any number; None where it cannot be, or answers otherwise."""
    freed = for_any_number(program, n_images)
    try:
        plain = _plain(trace(freed, batch))
    except Exception:  # sizes that contradict each other, from anywhere in torch
        return None
    fits = _takes_any_number(plain, batch) and same_for_each_image(plain, program, batch, n_images)
    return plain if fits else None


def _one_number(model: nn.Module, is_program: bool, n_images: int, example: Tensor) -> str:
    name = type(model).__name__
    if is_program:
        size = ", ".join(map(str, example.shape[1:]))
        return (
            f"the program holds for {n_images} image{'s' * (n_images > 1)} at a time; export it for any number: "
            f"torch.export.export(model, (torch.rand(2, {size}),), dynamic_shapes=({{0: torch.export.Dim.AUTO}},))"
        )
    return (
        f"{name} makes the number of images a constant in its forward, as len(x) or view(1, -1) does; "
        "write x.shape[0] there (torch.take_along_dim does so too; use gather)"
    )


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


def _plain(traced: Trace) -> fx.GraphModule:
    """Return the graph without guards and write-backs, over detached views of the weights (the same memory)."""
    root = nn.Module()
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in traced.module.graph.nodes:
        if node.op == "call_module" or operator_name(node).startswith("_assert"):  # torch.export's own checks
            continue
        if node.op == "get_attr":
            copies[node] = _weight(traced.module, node, root, graph)
        elif node.target is aten.copy_.default:  # into the input or a buffer: all else is functional
            copies[node] = copies[node.args[1]]
        elif node.target is aten.detach.default and _is_repeated(node):
            copies[node] = copies[node.args[0]]
        else:
            copies[node] = graph.node_copy(node, lambda n: copies[n])
            if node.target in _READ_IN_ROWS:
                copies[node].args = (_in_rows(copies[node], graph), *copies[node].args[1:])
            copies[node].target = _SAME_VALUES.get(node.target, node.target)
    (returned,) = graph.find_nodes(op="output")
    returned.meta["out_spec"] = traced.out_spec
    graph.eliminate_dead_code()
    recognise_activations(graph)
    plain = fx.GraphModule(root, graph)
    plain.graph.lint()
    plain.meta["remarks"] = traced.remarks
    return plain.eval()


_READ_IN_ROWS = {aten.as_strided.default, aten.kron.default}
"""What reads its first operand in the order of memory, or refuses other orders."""

_SAME_VALUES = {
    # the strides seen while tracing need not be those of a run
    aten.view.default: aten.reshape.default,
    aten._unsafe_view.default: aten.reshape.default,
    # a gradient passes through what the unit reads, whether the model's training stopped it there or not
    aten.detach.default: aten.alias.default,
}


def _has_counted_size(node: fx.Node) -> bool:
    """Return whether a size of a node's tensor is known only once it is run: as many as a mask has ones."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and bool(free_unbacked_symbols(value))


def _in_rows(node: fx.Node, graph: fx.Graph) -> fx.Node:
    """Return what a node reads, copied into the order of its dimensions, whatever the memory layout of a run."""
    below: Any = node.args[0]
    if not below.meta["val"].is_contiguous():  # the model's own order, which only it knows
        return below  # type: ignore[no-any-return]
    with graph.inserting_before(node):
        copied = graph.call_function(aten.clone.default, (below,), {"memory_format": torch.contiguous_format})
    copied.meta = dict(below.meta)
    return copied


def _is_repeated(node: fx.Node) -> bool:
    """Return whether a detach is none of the model's, but one that the tracer put behind another call."""
    below = node.args[0]
    return isinstance(below, fx.Node) and node.meta.get("torch_fn") == below.meta.get("torch_fn")


def _weight(module: fx.GraphModule, node: fx.Node, root: nn.Module, graph: fx.Graph) -> fx.Node:
    """Return the new graph's node of a weight, which becomes a buffer of `root`."""
    value: object = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    if not isinstance(value, Tensor):
        raise CaptureError(f"the model holds {node.target!r}, which is no tensor; {INDEPENDENT}")
    root.register_buffer(node.name, value.detach())
    found = graph.get_attr(node.name)
    found.meta = {**node.meta, "val": value.detach(), "parameter": str(node.target)}
    return found


@contextmanager
def _silence() -> Iterator[None]:
    swallowed = io.StringIO()
    with quiet_torch(), redirect_stdout(swallowed), redirect_stderr(swallowed):
        yield
