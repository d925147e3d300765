"""Adjoints: how each operator of a rewritten graph passes a signal down, on the windows that the signal fills.

What most of the time goes into (convolutions, max pools) and what merely passes a signal on has an adjoint of its
own here. Every other operator that leaves cells in their places (`_CELLWISE`) is differentiated by PyTorch on the
windows of its inputs, and what is left on whole maps. So the walk is complete, and any of the three gives the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from backlight.errors import UnsupportedOperatorError
from backlight.operators import pooling
from backlight.operators.carry import carry, passed_operands, rectify_signal
from backlight.operators.gates import carried_division, frozen_layer_norm, frozen_power, inverse_division
from backlight.operators.paths import (
    CLAMPS,
    RECTIFIERS,
    as_pair,
    aten,
    convolution_options,
    operands,
    operator_name,
    options_of,
    packet,
    shape_of,
)
from backlight.operators.rectifiers import leak_signal
from backlight.operators.windows import Axes, Windows, in_order

Below = Iterable[tuple[Any, Windows]]
"""The signals that arrive at an operator's inputs."""


@dataclass
class Record:
    """What a forward pass over m images leaves for the way down.

    Attributes:
        shapes: The shape of every node's tensor.
        values: The tensors that an adjoint will ask for.
        switches: Of every max pool, the recorded switches.
    """

    shapes: dict[fx.Node, Any] = field(default_factory=dict)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    switches: dict[fx.Node, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Descent:
    """One walk of the signals of n units from their layer to the pixels.

    Attributes:
        record: The forward pass.
        image_of: (n,) the image of each unit; None if each has its own, in their order.
        live: The nodes from which a signal can reach the pixels.
        by_image: The nodes that hold an entry for each image, along their first dimension; all others are as
            constants are: one value for all images.
    """

    record: Record
    image_of: Tensor | None
    live: frozenset[fx.Node]
    by_image: frozenset[fx.Node]

    def sizes(self, node: fx.Node) -> Any:
        """Return the shape of a node's tensor, a constant's too."""
        known = self.record.shapes.get(node)
        return tuple(self.record.values[node].shape) if known is None else known


def _pass(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    yield node.args[0], signal


def _rectify(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    data = signal.data.clamp_(min=0) if signal.fresh else signal.data.clamp(min=0)
    yield node.args[0], signal.with_data(data)


def _convolve(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    """Filter with the transposed weights: each value goes to all cells that its filter reads."""
    below: Any = node.args[0]
    weight, options = descent.record.values[node.args[1]], convolution_options(node)  # type: ignore[index]
    stride, padding, dilation = options["stride"], options["padding"], options["dilation"]
    shape, signal = descent.record.shapes[below], _on_maps(signal, node, descent)
    if signal.covers(descent.record.shapes[node]):
        axes, cut = signal.axes, padding
        used = [(signal.data.shape[2 + i] - 1) * stride[i] - 2 * padding[i] for i in (0, 1)]
        more = [shape[2 + i] - used[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1 for i in (0, 1)]
    else:
        axes, cut, more = _moved(signal.axes, stride, padding), [0, 0], [0, 0]
    groups = options["groups"]
    data = F.conv_transpose2d(in_order(signal.data), weight, None, stride, cut, more, groups, dilation)
    yield below, Windows(data, axes).inside(shape)


def _on_maps(signal: Windows, node: fx.Node, descent: Descent) -> Windows:
    """Return the signal on windows along the last two of four dimensions, where filters slide; else on whole maps."""
    slides = [dim for dim, _ in signal.axes] == [2, 3]
    return signal if slides else signal.whole(descent.record.shapes[node])


def _moved(axes: Axes, stride: Sequence[int], padding: Sequence[int]) -> Axes:
    """Return where windows begin below an operator whose own windows slide with that stride and padding."""
    return tuple((dim, starts * stride[i] - padding[i]) for i, (dim, starts) in enumerate(axes))


def _pool_options(node: fx.Node) -> dict[str, Any]:
    """Return kernel_size, stride, padding, dilation (each a pair) and ceil_mode of a two-dimensional pool."""
    given: dict[str, Any] = {"padding": 0, "dilation": 1, "ceil_mode": False}
    given |= node.kwargs if node.target is pooling.fill_pool else options_of(node, node.args, node.kwargs)
    given["stride"] = given.get("stride") or given["kernel_size"]
    pairs = {k: as_pair(given[k]) for k in ("kernel_size", "stride", "padding", "dilation")}
    return pairs | {"ceil_mode": given["ceil_mode"]}


def _unpool(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    """Unpool by the switches: each value goes to the place that was recorded; values for one place are added."""
    below: Any = node.args[0]
    options, shape, signal = (
        _pool_options(node),
        descent.record.shapes[below],
        _on_maps(signal, node, descent),
    )
    stride, kernel, dilation = options["stride"], options["kernel_size"], options["dilation"]
    switches = signal.of(descent.record.switches[node], descent.image_of)
    n, c, *sizes = signal.data.shape
    if signal.covers(descent.record.shapes[node]):
        axes, padding, sizes = signal.axes, options["padding"], list(shape[2:])
    else:
        axes, padding = _moved(signal.axes, stride, options["padding"]), [0, 0]
        sizes = [(sizes[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
        switches = _within(switches, axes, shape[3], sizes)
    like = torch.empty(
        (n, c, *sizes), device=switches.device, dtype=signal.data.dtype, memory_format=torch.channels_last
    )
    data = aten.max_pool2d_with_indices_backward.default(
        in_order(signal.data),
        like,
        kernel,
        stride,
        padding,
        dilation,
        options["ceil_mode"],
        in_order(switches),
    )
    yield below, Windows(data, axes).inside(shape)


def _within(switches: Tensor, axes: Axes, width: int, sizes: Sequence[int]) -> Tensor:
    """Return switches, places row * width + column of a map, as places of windows of those sizes."""
    corner = torch.from_numpy(axes[0][1] * sizes[1] + axes[1][1]).to(switches.device)
    places = switches.div(width, rounding_mode="floor") * (sizes[1] - width)
    places += switches
    places -= corner[:, None, None, None]
    return places.clamp_(0, sizes[0] * sizes[1] - 1)  # what is over an edge has any place, and no signal


def _fill(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    """Unpool an average by copying each value to all of its window; values for one place are added."""
    below: Any = node.args[0]
    options, shape = _pool_options(node), descent.record.shapes[below]
    signal = _on_maps(signal, node, descent)
    n_maps, signal = signal.data.shape[1], signal if signal.axes else signal.on_axes((2, 3))
    ones = signal.data.new_ones(n_maps, 1, *options["kernel_size"])
    data = F.conv_transpose2d(in_order(signal.data), ones, None, options["stride"], groups=n_maps)
    axes = _moved(signal.axes, options["stride"], options["padding"])
    yield below, Windows(data, axes).inside(shape)


def _concatenate(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    (bundle, dim), shape = _bundle(node), descent.record.shapes[node]
    signal, first = signal.along(dim, shape), 0
    for below in bundle:
        size = descent.sizes(below)[dim]
        if below in descent.live:
            yield below, signal.with_data(in_order(signal.data.narrow(dim, first, size)), fresh=False)
        first += size


def _bundle(node: fx.Node) -> tuple[Any, int]:
    """Return what is joined or taken apart, and along which dimension, counted from the first."""
    options = {"dim": 0} | options_of(node, node.args, node.kwargs)
    value = node.args[0]
    rank = len((shape_of(value[0] if isinstance(value, (list, tuple)) else value)) or ())  # type: ignore[arg-type]
    return value, options["dim"] % rank


def _split(node: fx.Node, signals: dict[int, Windows], descent: Descent) -> Below:
    (below, dim), shapes = _bundle(node), descent.record.shapes[node]
    parts = {i: s.along(dim, shapes[i]) for i, s in signals.items()}
    first = next(iter(parts.values()))
    if not all(part.lies_as(first) for part in parts.values()):
        parts = {i: s.whole(shapes[i]) for i, s in parts.items()}
        first = next(iter(parts.values()))
    sizes = list(first.data.shape)
    pieces = []
    for i, shape in enumerate(shapes):
        sizes[dim] = shape[dim]
        pieces.append(parts[i].data if i in parts else first.data.new_zeros(sizes))
    yield below, first.with_data(in_order(torch.cat(pieces, dim)))


def _add(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    scale: Any = options_of(node, node.args, node.kwargs).get("alpha", 1)
    second = scale * (-1 if packet(node) is aten.sub else 1)
    for below, factor in zip(node.args[:2], (1, second), strict=True):
        if below in descent.live:
            data = signal.data if factor == 1 else signal.data * factor
            yield below, _summed(signal.with_data(data, factor != 1), below, node, descent)  # type: ignore[arg-type]


def _multiply(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    signal = _level(node, signal, descent)
    for below, other in (node.args, node.args[::-1]):
        if below in descent.live:
            product = signal.with_data(signal.data * _seen(other, signal, descent))
            yield below, _summed(product, below, node, descent)  # type: ignore[arg-type]


def _summed(signal: Windows, below: fx.Node, node: fx.Node, descent: Descent) -> Windows:
    """Return the signal of an operand that was stretched to the operator's shape: the sum of what it was copied to."""
    shape, own = descent.record.shapes[node], descent.record.shapes[below]
    if own == shape:
        return signal
    sizes = (len(signal.data), *own[1:]) if len(own) == len(shape) and own[0] == shape[0] else own
    return Windows(signal.whole(shape).data.sum_to_size(*sizes))


def _level(node: fx.Node, signal: Windows, descent: Descent) -> Windows:
    """Return the signal on windows where every operand has cells for them, or one value for all; else whole."""
    shape, record = descent.record.shapes[node], descent.record
    dims = [dim - len(shape) for dim, _ in signal.axes]  # from the last, as operands are stretched
    cells, one = [shape[dim] for dim in dims], [1] * len(dims)
    for operand in operands([node.args, node.kwargs]):
        value = record.values[operand]
        if isinstance(value, Tensor):
            own = [value.shape[dim] if value.dim() >= -dim else 1 for dim in dims]
            is_map = operand in descent.by_image and value.dim() == len(shape)
            if (own != one and not (is_map and own == cells)) or (operand in record.shapes and not is_map):
                return signal.whole(shape)
    return signal


def _seen(value: Any, signal: Windows, descent: Descent) -> Any:
    """Return what an argument, a node or a constant, has in the places of the signal's windows."""
    if not isinstance(value, fx.Node):
        return value
    found = descent.record.values[value]
    if value not in descent.by_image or not isinstance(found, Tensor):
        return found
    if signal.axes and all(found.shape[dim] == 1 for dim, _ in signal.axes):
        return found if descent.image_of is None else found[descent.image_of]
    return signal.of(found, descent.image_of)


def _linear(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    signal = signal.along(signal.data.dim() - 1, descent.record.shapes[node])
    yield node.args[0], signal.with_data(signal.data @ descent.record.values[node.args[1]])  # type: ignore[index]


def _permute(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    rank, arguments = signal.data.dim(), list[Any](node.args[1:])
    order = list(range(rank))
    if packet(node) is aten.permute:
        order = [d % rank for d in arguments[0]]
    else:
        i, j = (d % rank for d in arguments)
        order[i], order[j] = j, i
    axes = tuple(sorted(((order[dim], starts) for dim, starts in signal.axes), key=lambda axis: axis[0]))
    back = sorted(range(rank), key=order.__getitem__)
    yield node.args[0], Windows(in_order(signal.data.permute(back)), axes, fresh=False)


def _reshape(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    below: Any = node.args[0]
    shape, own = descent.record.shapes[node], descent.record.shapes[below]
    rank, n = len(shape), len(signal.data)
    kept = shape[0] == own[0] and shape[-2:] == own[-2:] and min(rank, len(own)) > 2
    if signal.axes and kept and [dim for dim, _ in signal.axes] == [rank - 2, rank - 1]:
        axes = tuple((dim - rank + len(own), starts) for dim, starts in signal.axes)
        data = signal.data.reshape(n, *own[1:-2], *signal.data.shape[-2:])
        yield below, Windows(in_order(data), axes, fresh=False)
    else:
        data = signal.whole(shape).data.reshape(n if shape[0] == own[0] else own[0], *own[1:])
        yield below, Windows(in_order(data), fresh=False)


def _cellwise(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    """Differentiate an operator that leaves cells in their places, on the windows."""
    signal = _level(node, signal, descent)
    seen = {n: _seen(n, signal, descent) for n in dict.fromkeys(operands([node.args, node.kwargs]))}
    return _differentiate(node, signal, descent, seen)


def _normalise(node: fx.Node, signal: Windows, descent: Descent) -> Below:
    """Differentiate a layer norm over the last dimensions, on the windows along the others."""
    rank = signal.data.dim()
    for dim in range(rank - len(node.args[1]), rank):  # type: ignore[arg-type]
        signal = signal.along(dim, descent.record.shapes[node])
    return _cellwise(node, signal, descent)


def _anywhere(node: fx.Node, signal: Windows | dict[int, Windows], descent: Descent) -> Below:
    """Differentiate any operator, on whole maps."""
    seen, shape = {}, descent.record.shapes[node]
    for n in dict.fromkeys(operands([node.args, node.kwargs])):
        value = descent.record.values[n]
        is_map = descent.image_of is not None and n in descent.by_image and isinstance(value, Tensor)
        seen[n] = value[descent.image_of] if is_map else value
    if isinstance(signal, dict):
        whole: Any = {i: s.whole(shape[i]) for i, s in signal.items()}
    else:
        whole = signal.whole(shape)
    return _differentiate(node, whole, descent, seen)


def _differentiate(
    node: fx.Node, signal: Windows | dict[int, Windows], descent: Descent, seen: dict[fx.Node, Any]
) -> Below:
    """Yield what PyTorch's derivative of an operator makes of the signal, for each operand that passes one.

    Raises:
        UnsupportedOperatorError: PyTorch has no derivative of it.
    """
    below = [n for n in passed_operands(node) if n in descent.live]
    with torch.enable_grad():
        seen = seen | {n: seen[n].detach().requires_grad_() for n in below}
        target: Any = node.target
        out = target(*fx.map_arg(node.args, seen.__getitem__), **fx.map_arg(node.kwargs, seen.__getitem__))
        parts: dict[Any, Windows] = dict(signal) if isinstance(signal, dict) else {None: signal}
        outs = {i: out if i is None else out[i] for i in parts}
        smooth = [i for i, value in outs.items() if value.is_floating_point() or value.is_complex()]
        values, signals = [outs[i] for i in smooth], [parts[i].data for i in smooth]
        if packet(node) is aten.instance_norm:  # torch misreads one image's signal with its channels last
            signals = [signal.contiguous() for signal in signals]
        try:
            if not all(value.requires_grad for value in values):
                raise NotImplementedError("no derivative")
            found = torch.autograd.grad(values, [seen[n] for n in below], signals, allow_unused=True)
        except RuntimeError as error:
            if "derivative" not in str(error):
                raise
            raise UnsupportedOperatorError(
                f"PyTorch has no derivative of {operator_name(node)}, so no signal can be passed back through it; "
                "choose a layer below it"
            ) from error
    for n, data in zip(below, found, strict=True):
        if data is not None:
            yield n, Windows(in_order(data), _own_axes(n, node, signal, descent))


def _own_axes(below: fx.Node, node: fx.Node, signal: Windows | dict[int, Windows], descent: Descent) -> Axes:
    """Return where the windows of an operand's signal lie: nowhere, the map is whole, if one value served all cells."""
    if isinstance(signal, dict):
        return ()
    shape, own = descent.record.shapes[node], descent.record.shapes[below]
    return () if any(own[dim] != shape[dim] for dim, _ in signal.axes) else signal.axes


_OWN: dict[Any, Any] = {
    **dict.fromkeys((aten.clone, aten.alias, aten.dropout, aten.contiguous, carry, carried_division), _pass),
    rectify_signal: _rectify,
    aten.conv2d: _convolve,
    aten.max_pool2d: _unpool,
    pooling.fill_pool: _fill,
    **dict.fromkeys((aten.cat, aten.concat, aten.concatenate), _concatenate),
    **dict.fromkeys((aten.split, aten.split_with_sizes, aten.chunk), _split),
    **dict.fromkeys((aten.add, aten.sub), _add),
    aten.mul: _multiply,
    aten.linear: _linear,
    **dict.fromkeys((aten.layer_norm, frozen_layer_norm), _normalise),
    **dict.fromkeys((aten.permute, aten.transpose), _permute),
    **dict.fromkeys((aten.reshape, aten.view, aten.flatten, aten.squeeze, aten.unsqueeze), _reshape),
}
_CELLWISE = {
    *(RECTIFIERS | CLAMPS | {aten.neg, aten.div, aten.rsub, aten.sigmoid, aten.hardsigmoid, aten.tanh}),
    *(leak_signal, inverse_division, frozen_power, pooling.select_of_two),
}
NEED_VALUES = frozenset({_multiply, _cellwise, _normalise, _anywhere})
"""The adjoints that read the values of an operator's inputs."""


def _is_complex(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_complex()


def adjoint_of(node: fx.Node, dependent: Set[fx.Node]) -> Any:
    """Return the adjoint of a node.

    Args:
        node: A node of a rewritten graph.
        dependent: The nodes whose values are those of the pixels; weights that are made of them are no constants.
    """
    own = _OWN.get(packet(node))
    if any(_is_complex(n) for n in (node, *node.all_input_nodes)):  # an adjoint there takes the conjugate
        return own if own in (_pass, _permute, _reshape) else _anywhere
    if own in (_convolve, _linear) and any(n in dependent for n in operands([node.args[1:], node.kwargs])):
        return _anywhere
    sizes = shape_of(node)
    if own in (_convolve, _unpool, _fill) and (sizes is None or len(sizes) != 4):
        return _anywhere
    if own is _convolve and isinstance(convolution_options(node)["padding"][0], str):
        return _anywhere
    return own or (_cellwise if packet(node) in _CELLWISE else _anywhere)
