"""Tracing: one run of torch.export over a model's inference, which leaves the model as it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import TreeSpec

from backlight.network.eager import arguments_of, inference_of
from backlight.network.randomness import remarks_on_random_numbers, switch_off_dropout

_WRAPS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")


@dataclass(frozen=True)
class Trace:
    """A model traced by torch.export.

    Attributes:
        module: A functional ATen graph for any number of images, with torch.export's guards and write-backs.
        out_spec: How the flat outputs form the value that the model returns.
        remarks: What the user should know about the model, one line each.
    """

    module: fx.GraphModule
    out_spec: TreeSpec
    remarks: tuple[str, ...]


def trace(model: nn.Module, batch: Tensor) -> Trace:
    """Return the graph of a model's inference; the model is left exactly as it was.

    Args:
        model: The module; parts compiled by `torch.compile` are traced uncompiled.
        batch: At least two images (n, c, h, w), so that their number stays symbolic.
    """
    # Dimension 0 is left symbolic; (h, w) are the example's. A forward(*args) wants the sizes of its tuple.
    images: Any = {0: Dim.AUTO}
    shapes: Any = ((images,),) if _takes_varargs(model) else (images,)
    with inference_of(model), _without_inference_tensors(), torch.compiler.set_stance("force_eager"):
        with _DataIsDetach():
            program = torch.export.export(model, (batch,), dynamic_shapes=shapes, strict=False)
        # Before the decompositions, which replace the operators that have a `training` argument.
        remarks = switch_off_dropout(program.graph_module)
        _run_inner_graphs_node_by_node(program.graph_module)
        # An empty table takes no operator apart: it makes the graph functional, in-place writes become plain operators.
        module = program.run_decompositions({}).module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    remarks += remarks_on_random_numbers(module.graph)
    return Trace(module, program.call_spec.out_spec, tuple(remarks))


def _takes_varargs(model: nn.Module) -> bool:
    """Return whether the first argument of a model's forward becomes part of its `*args`."""
    return [a.kind for a in arguments_of(model)[:1]] == [inspect.Parameter.VAR_POSITIONAL]


class _DataIsDetach(TorchFunctionMode):
    """Replaces `x.data`, which the tracer does not see, by the equivalent `x.detach()`."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # reading the property `x.data` arrives here as a call of its getter
        if func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0].detach()
        return func(*args, **(kwargs or {}))


@contextmanager
def _without_inference_tensors() -> Iterator[None]:
    """Make `torch.inference_mode()` in a forward do nothing: the tracer cannot use tensors made in it."""
    kind: Any = torch.inference_mode
    enter = kind.__enter__

    def do_nothing(mode: Any) -> None:
        mode._inference_mode_context = nullcontext()  # the mode's __exit__ leaves this context

    kind.__enter__ = do_nothing
    try:
        yield
    finally:
        kind.__enter__ = enter


class _NodeByNode(nn.Module):
    """Interprets a graph node by node, so that what is traced keeps the module and function of each node."""

    def __init__(self, inner: fx.GraphModule) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any) -> Any:
        return fx.Interpreter(self.inner).run(*args)


def _run_inner_graphs_node_by_node(module: nn.Module) -> None:
    """Keep the names of nodes under no_grad or autocast, whose inner graphs would otherwise be named as a whole."""
    for part in [m for m in module.modules() if isinstance(m, fx.GraphModule)]:
        for node in part.graph.nodes:
            if getattr(node.target, "__name__", "") in _WRAPS:
                for inner in (a for a in node.args if isinstance(a, fx.Node) and a.op == "get_attr"):
                    graph = part.get_submodule(str(inner.target))
                    # Decomposing runs the inner graph again, by now node by node.
                    if isinstance(graph, fx.GraphModule):
                        part.set_submodule(str(inner.target), _NodeByNode(graph))
