"""A network as plain data, which can be pickled, sent to another process or machine, and put on another device.

What torch.export leaves in a graph cannot be pickled: operators, tensors without memory and symbolic numbers of images.
So nodes are sent as what they call on which others, with the weights; shapes are traced anew where the data arrives.
Weights are sent by value: the network that arrives shares none with the model, and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
    is_concrete_int,
)
from torch.fx.node import map_aggregate
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from backlight.images import Preprocessing

_KEPT = ("out_spec", "parameter", "stack_trace", "torch_fn")
"""Of a node's meta what is plain; `val` is traced anew, and `spread` follows from the graph."""


@dataclass(frozen=True)
class _Operator:
    """An operator of PyTorch by its name: `aten::relu` and `default`."""

    name: str
    overload: str

    def find(self) -> Any:
        space, _, name = self.name.partition("::")
        return getattr(getattr(getattr(torch.ops, space), name), self.overload)


@dataclass(frozen=True)
class _Result:
    """What another node gives, as an argument."""

    name: str


@dataclass(frozen=True)
class _Step:
    """A node of the graph."""

    op: str
    name: str
    target: Any
    args: Any
    kwargs: Any
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class NetworkData:
    """A network as plain data.

    Attributes:
        name: As of the network.
        input_shape: As of the network.
        preprocessing: As of the network.
        steps: The nodes of the graph, in its order.
        weights: By their names in the graph.
        remarks: What the user should know about the model, and other paths of its modules, as capture left them.
        n_images: The number of images of the shapes in the graph; None where it is symbolic.
        dtype: Of the inputs.
    """

    name: str
    input_shape: tuple[int, ...]
    preprocessing: Preprocessing | None
    steps: tuple[_Step, ...]
    weights: Mapping[str, Tensor]
    remarks: Mapping[str, Any]
    n_images: int | None
    dtype: torch.dtype

    def on(self, device: torch.device | str) -> NetworkData:
        """Return the data with weights and constants on a device."""
        device = torch.device(device)

        def moved(value: Any) -> Any:
            return device if isinstance(value, torch.device) else value

        steps = tuple(
            replace(own, args=map_aggregate(own.args, moved), kwargs=map_aggregate(own.kwargs, moved))
            for own in self.steps
        )
        return replace(
            self, steps=steps, weights={name: own.to(device) for name, own in self.weights.items()}
        )


def as_data(
    module: fx.GraphModule, name: str, input_shape: tuple[int, ...], preprocessing: Preprocessing | None
) -> NetworkData:
    """Return the graph of a network, and what else it consists of, as plain data."""
    steps = tuple(
        _Step(
            node.op,
            node.name,
            _target(node.target),
            _sendable(node.args),
            _sendable(node.kwargs),
            {key: node.meta[key] for key in _KEPT if key in node.meta} | _stack(node),
        )
        for node in module.graph.nodes
    )
    pixels = module.graph.find_nodes(op="placeholder")[0].meta["val"]
    return NetworkData(
        name,
        input_shape,
        preprocessing,
        steps,
        dict(module.named_buffers()),
        dict(module.meta),
        int(pixels.shape[0]) if is_concrete_int(pixels.shape[0]) else None,
        pixels.dtype,
    )


def as_graph(data: NetworkData) -> fx.GraphModule:
    """Return the graph that data describes, its shapes traced anew."""
    root, graph = nn.Module(), fx.Graph()
    for name, weight in data.weights.items():
        root.register_buffer(name, weight)
    made: dict[str, fx.Node] = {}

    def found(value: Any) -> Any:
        return made[value.name] if isinstance(value, _Result) else value

    for own in data.steps:
        target = own.target.find() if isinstance(own.target, _Operator) else own.target
        args, kwargs = map_aggregate(own.args, found), map_aggregate(own.kwargs, found)
        node = graph.create_node(own.op, target, args, kwargs, own.name)
        # The name decides the fingerprint; `create_node` would make `add_1` of a second `add`.
        assert node.name == own.name, f"{node.name} is not {own.name}"
        node.meta, made[own.name] = dict(own.meta), node
    module = fx.GraphModule(root, graph)
    module.meta.update(data.remarks)
    _trace_shapes(module, data)
    return module.eval()


def _trace_shapes(module: fx.GraphModule, data: NetworkData) -> None:
    n_images = 2 if data.n_images is None else data.n_images
    device = next(iter(data.weights.values()), torch.zeros(0)).device
    dims = [DimDynamic.STATIC] * (1 + len(data.input_shape))
    if data.n_images is None:
        dims[0] = DimDynamic.DYNAMIC
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    pixels = torch.empty(n_images, *data.input_shape, dtype=data.dtype, device=device)
    fake = mode.from_tensor(pixels, symbolic_context=StatelessSymbolicContext(dims))
    with torch.no_grad():
        FakeTensorProp(module, mode).propagate_dont_convert_inputs(fake)
    for node in module.graph.find_nodes(op="get_attr"):
        node.meta["val"] = module.get_buffer(str(node.target))  # rules look at some weights' values


def _target(target: Any) -> Any:
    if isinstance(target, torch._ops.OpOverload):
        return _Operator(target._schema.name, target._overloadname)
    return target


def _sendable(value: Any) -> Any:
    def named(own: Any) -> Any:
        return _Result(own.name) if isinstance(own, fx.Node) else own

    return map_aggregate(value, named)


def _stack(node: fx.Node) -> dict[str, Any]:
    """Return the modules that a node comes from, their classes by name: those need not be known where they arrive."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    if not stack:
        return {}
    return {"nn_module_stack": {key: (path, _class_name(kind)) for key, (path, kind) in stack.items()}}


def _class_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
