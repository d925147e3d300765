"""Adjoints: how an operator of a rewritten graph passes signals back, on the windows that the signals fill.

Operators that take most of the time (convolutions, max pools), and those that merely pass a signal on, have adjoints of
their own in the files of their families. Every other operator that leaves cells in their places is differentiated by
PyTorch on the windows of its operands (`IN_PLACE`), and the rest on whole maps (`ON_WHOLE_MAPS`). So every operator is
covered, and all three ways give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from backlight.errors import UnsupportedOperatorError
from backlight.operators.reading import operands, operator_name
from backlight.operators.windows import Axes, Windows, in_order

Below = Iterable[tuple[Any, Windows]]
"""The signals that arrive at an operator's operands."""


@dataclass
class Record:
    """What a forward pass over m images leaves for the backward pass.

    Attributes:
        shapes: The shape of every node's tensor.
        values: The tensors that an adjoint will ask for.
        switches: Of every max pool that a signal can pass, the recorded switches.
        live: The nodes from which a signal can reach the pixels.
    """

    live: frozenset[fx.Node] = frozenset()
    shapes: dict[fx.Node, Any] = field(default_factory=dict)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    switches: dict[fx.Node, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Walk:
    """One walk of the signals of n units from their layer back to the pixels.

    Attributes:
        record: The forward pass.
        image_of: (n,) the image of each unit; None if each has its own, in their order.
        below: For each node that a signal can pass, the operands from which it can reach the pixels.
        by_image: The nodes that hold an entry for each image, along their first dimension; all others are as
            constants are: one value for all images.
    """

    record: Record
    image_of: Tensor | None
    below: Mapping[fx.Node, tuple[fx.Node, ...]]
    by_image: frozenset[fx.Node]

    def sizes(self, node: fx.Node) -> Any:
        """Return the shape of a node's tensor, a constant's too."""
        known = self.record.shapes.get(node)
        return tuple(self.record.values[node].shape) if known is None else known


def _always(node: fx.Node, dependent: Set[fx.Node]) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Adjoint:
    """How an operator passes signals back.

    Attributes:
        back: Yields the operands and what arrives at them. The signal of an operator of several outputs is a dict of
            them, by the outputs' indices.
        label: How, in the words of docs/operators.md.
        needs_values: Whether it reads the values of the operator's operands.
        fits: Whether it serves a node, given the nodes that depend on the pixels; where not, whole maps do.
        of_complex: Whether it serves complex numbers too, whose derivative takes the conjugate.
        forward: How the forward pass evaluates the operator, given the node, its arguments, and the record to keep
            what the backward pass needs; None for the operator itself.
    """

    back: Callable[[fx.Node, Any, Walk], Below]
    label: str = "own adjoint on windows"
    needs_values: bool = False
    fits: Callable[[fx.Node, Set[fx.Node]], bool] = _always
    of_complex: bool = False
    forward: Callable[[fx.Node, tuple[Any, ...], dict[str, Any], Record], Any] | None = None


# --- what several families use --------------------------------------------------------------------------------


def pass_on(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Pass the signal to the first operand as it is."""
    yield node.args[0], signal


def summed(signal: Windows, below: fx.Node, node: fx.Node, walk: Walk) -> Windows:
    """Return the signal of an operand that was stretched to the operator's shape: the sum of what it was copied to."""
    shape, own = walk.record.shapes[node], walk.record.shapes[below]
    if own == shape:
        return signal
    # An operand with an entry for each image has one for each unit here: (m, c, 1, 1) becomes (n, c, 1, 1). Summed
    # on whole maps: an operand that is stretched along the channels alone has rows and columns of its own.
    sizes = (len(signal.data), *own[1:]) if len(own) == len(shape) and own[0] == shape[0] else own
    return Windows(signal.whole(shape).data.sum_to_size(*sizes))


def on_common_cells(node: fx.Node, signal: Windows, walk: Walk) -> Windows:
    """Return the signal on windows where every operand has cells for them, or one value for all; else on whole maps."""
    shape, record = walk.record.shapes[node], walk.record
    # Along each windowed axis an operand must have as many cells as the operator, or one for all of them.
    dims = [dim - len(shape) for dim, _ in signal.axes]  # counted from the last, as operands are stretched
    cells, one = [shape[dim] for dim in dims], [1] * len(dims)
    for operand in operands([node.args, node.kwargs]):
        value = record.values[operand]
        if isinstance(value, Tensor):
            own = [value.shape[dim] if value.dim() >= -dim else 1 for dim in dims]
            # A constant with cells of its own cannot be cut for each unit; a tensor of lower rank has no batch first.
            is_map = operand in walk.by_image and value.dim() == len(shape)
            if (own != one and not (is_map and own == cells)) or (operand in record.shapes and not is_map):
                return signal.whole(shape)
    return signal


def seen_by(value: Any, signal: Windows, walk: Walk) -> Any:
    """Return what an argument, a node or a constant, has in the places of the signal's windows, for each unit."""
    if not isinstance(value, fx.Node):
        return value
    found = walk.record.values[value]
    if value not in walk.by_image or not isinstance(found, Tensor):
        return found
    # (m, c, 1, 1): one value for all cells, so only the image is chosen: (n, c, 1, 1).
    if signal.axes and all(found.shape[dim] == 1 for dim, _ in signal.axes):
        return found if walk.image_of is None else found[walk.image_of]
    return signal.of(found, walk.image_of)


def in_place(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Differentiate an operator that leaves cells in their places, on the windows."""
    # The operands as they are on the windows: (m, c, h, w) of the images -> (n, c, kh, kw) of the units.
    signal = on_common_cells(node, signal, walk)
    seen = {n: seen_by(n, signal, walk) for n in dict.fromkeys(operands([node.args, node.kwargs]))}
    return _differentiate(node, signal, walk, seen)


def _on_whole_maps(node: fx.Node, signal: Windows | dict[int, Windows], walk: Walk) -> Below:
    """Differentiate any operator, on whole maps."""
    seen, shape = {}, walk.record.shapes[node]
    for n in dict.fromkeys(operands([node.args, node.kwargs])):
        value = walk.record.values[n]
        # (m, ...) of the images becomes (n, ...) of the units; a constant serves all units as it is.
        is_map = walk.image_of is not None and n in walk.by_image and isinstance(value, Tensor)
        seen[n] = value[walk.image_of] if is_map else value
    if isinstance(signal, dict):
        whole: Any = {i: s.whole(shape[i]) for i, s in signal.items()}
    else:
        whole = signal.whole(shape)
    return _differentiate(node, whole, walk, seen)


def _differentiate(
    node: fx.Node, signal: Windows | dict[int, Windows], walk: Walk, seen: dict[fx.Node, Any]
) -> Below:
    """Yield what PyTorch's derivative of an operator makes of the signal, for each operand that passes one.

    Raises:
        UnsupportedOperatorError: PyTorch has no derivative of it.
    """
    below = walk.below[node]
    with torch.enable_grad():
        # The operator is run again on leaves; an operand that it reads twice is one leaf and gets the sum.
        seen = seen | {n: seen[n].detach().requires_grad_() for n in below}
        target: Any = node.target
        out = target(*fx.map_arg(node.args, seen.__getitem__), **fx.map_arg(node.kwargs, seen.__getitem__))
        parts: dict[Any, Windows] = dict(signal) if isinstance(signal, dict) else {None: signal}
        outs = {i: out if i is None else out[i] for i in parts}  # of several outputs those that got a signal
        # indices, which a pool or a sort gives beside its values, have no derivative
        smooth = [i for i, value in outs.items() if value.is_floating_point() or value.is_complex()]
        values, signals = [outs[i] for i in smooth], [parts[i].data for i in smooth]
        try:
            if not all(value.requires_grad for value in values):
                raise NotImplementedError("no derivative")
            found = torch.autograd.grad(values, [seen[n] for n in below], signals, allow_unused=True)
        except RuntimeError as error:  # NotImplementedError is one too
            if "derivative" not in str(error):
                raise
            raise UnsupportedOperatorError(
                f"PyTorch has no derivative of {operator_name(node)}, so no signal can be passed back through it; "
                "choose a layer below it"
            ) from error
    for n, data in zip(below, found, strict=True):
        if data is not None:  # None: none of the outputs that got a signal reads it
            data = in_order(data)
            # The gradient of a sum is one value for many cells: no memory that may be written to.
            yield n, Windows(data, _own_axes(n, node, signal, walk), fresh=0 not in data.stride())


def _own_axes(below: fx.Node, node: fx.Node, signal: Windows | dict[int, Windows], walk: Walk) -> Axes:
    """Return where the windows of an operand's signal lie: nowhere, the map is whole, if one value served all cells."""
    if isinstance(signal, dict):
        return ()
    # (m, c, h, w) * (m, c, 1, 1): the second operand's map is one cell, and autograd has summed the windows into it.
    shape, own = walk.record.shapes[node], walk.record.shapes[below]
    return () if any(own[dim] != shape[dim] for dim, _ in signal.axes) else signal.axes


PASS_ON = Adjoint(pass_on, "passed on", of_complex=True)
IN_PLACE = Adjoint(in_place, "derivative on windows", needs_values=True)
ON_WHOLE_MAPS = Adjoint(_on_whole_maps, "derivative on whole maps", needs_values=True, of_complex=True)
