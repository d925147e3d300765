"""The backward pass through a rewritten graph: its gradient for units, on no more of each map than their signals fill.

One forward pass serves all units of an image; then the signals of many units are passed back together, each on the
window that it fills. The result equals the gradient of the whole graph: `apply_rules` decides what an operator does
with a signal, and this module only where that is computed.

*Source*: Zeiler & Fergus (2013), section 2.1.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from backlight.operators.adjoint import ON_WHOLE_MAPS, Adjoint, Record, Walk
from backlight.operators.reading import operands
from backlight.operators.table import operands_passed, operator_of
from backlight.operators.views import keeps_batch
from backlight.operators.windows import Windows

MOST_CELLS = 1 << 21
"""The most cells of one operator's signals that are held at a time: 8 MB in float32. Fewer units at a time stay in the
processor's cache, and their windows meet the edges more alike."""


class Part(NamedTuple):
    """One unit of each of n signals, all at one layer.

    Attributes:
        head: Which of the heads.
        units: (channel, row, col) of each, or (channel,).
    """

    head: int
    units: Sequence[tuple[int, ...]]


class Backward:
    """The gradient of a rewritten graph, by windows.

    Args:
        module: What `apply_rules` gives, batch norms folded.

    Attributes:
        heads: The layers' nodes.
        shares: Whether one image can serve many units.
        at: The node that was run last, forward or backward: where an error came from.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        # In the order of the graph every node comes after its operands, so that one loop forwards, or one backwards,
        # meets each node when all that it waits for is there.
        self._nodes = list(module.graph.nodes)
        self._pixels = next(n for n in self._nodes if n.op == "placeholder")
        self.heads: tuple[fx.Node, ...] = tuple(self._nodes[-1].args[0])
        self._constants, self._dependent = _constants(module, self._nodes, self._pixels)
        self._below = _below(self._nodes, self._pixels)
        self._live = frozenset(self._below)
        of_images = (n for n in self._dependent if _has_an_entry_for_each(n, self._pixels))
        self._by_image = frozenset((self._pixels, *of_images))
        # Values are kept only for the adjoints that ask for them; all others are freed behind their last reader.
        self._adjoints = {n: _adjoint_of(n, self._dependent) for n in self._live if n is not self._pixels}
        readers = [node for node, adjoint in self._adjoints.items() if adjoint.needs_values]
        kept = {*operands([[n.args, n.kwargs] for n in readers]), *self.heads}
        # A later user overwrites an earlier one, so the last reader of each value is left.
        last = {n: user for user in self._nodes for n in operands([user.args, user.kwargs])}
        self._freed: dict[fx.Node, list[fx.Node]] = {}
        for node, user in last.items():
            if node in self._dependent and node not in kept:
                self._freed.setdefault(user, []).append(node)
        self.shares = all(self._has_batch_first(n) for n in self._live)
        self.at: fx.Node = self._pixels

    def forward(self, x: Tensor) -> Record:
        """Run the graph on a batch (m, c, h, w) and return what the backward pass needs of it."""
        record = Record(live=self._live, values={n: _on(v, x.device) for n, v in self._constants.items()})
        values = record.values
        # Convolutions are fastest with the channels last in memory, and hand that order on to what they give.
        values[self._pixels] = x.contiguous(memory_format=torch.channels_last)
        record.shapes[self._pixels] = tuple(x.shape)
        with torch.no_grad():
            for node in self._nodes:
                if node in self._dependent:
                    self.at = node
                    values[node] = self._value(node, record)
                    if isinstance(values[node], Tensor):
                        record.shapes[node] = tuple(values[node].shape)
                    elif isinstance(values[node], (tuple, list)):
                        record.shapes[node] = tuple(tuple(v.shape) for v in values[node])
                for done in self._freed.get(node, ()):
                    del values[done]
        return record

    def _value(self, node: fx.Node, record: Record) -> Any:
        values = record.values
        args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
        forward = operator_of(node).adjoint.forward
        if forward is not None:
            return forward(node, args, kwargs, record)
        target: Any = node.target
        return target(*args, **kwargs)

    def descend(
        self,
        record: Record,
        parts: Sequence[Part],
        image_of: Tensor | None,
        seed: Tensor | float | None = None,
    ) -> Iterator[tuple[Sequence[int], Tensor, Windows]]:
        """Yield some signals at a time: their places among all, the units' activations and what reaches the pixels.

        A signal starts at one unit, or at several that are projected together. Units at similar distances from the
        map's edges are passed back together, as their windows can be cut alike.

        Args:
            record: The forward pass.
            parts: One for the first unit of every signal, one for the second, and so on.
            image_of: (n,) which image of the record each signal belongs to; None if each has its own.
            seed: What to send back in the place of each unit's own activation: one value, or one for each signal (n,).
        """
        order = list(range(len(parts[0].units)))
        if image_of is not None:
            # Sorted by distance from the edges; `order` leads back to the caller's places.
            shape = record.values[self.heads[parts[0].head]].shape
            order.sort(key=lambda i: _from_the_edge(parts[0].units[i], shape))
            image_of = image_of[order]
        images = torch.arange(len(order)) if image_of is None else image_of
        arrived: dict[fx.Node, Any] = {}
        total: Tensor | None = None  # (n,) of each signal the sum of its units' activations
        for part in parts:
            node = self.heads[part.head]
            out, units = record.values[node], [part.units[i] for i in order]
            # out is (m, c, h, w) or (m, c); indexed by image and by the columns of (n, 3) or (n, 1): (n,) activations.
            values = out[(images, *torch.tensor(units).unbind(1))]
            seeds = (
                values
                if seed is None
                else torch.as_tensor(seed, dtype=values.dtype).to(values.device).expand_as(values)[order]
            )
            signal = Windows.at(units, seeds, out.shape[1])
            arrived[node] = signal if node not in arrived else arrived[node].plus(signal, out.shape)
            total = values if total is None else total + values
        assert total is not None  # a signal has at least one unit
        first = 0
        for found in self._walk(arrived, Walk(record, image_of, self._below, self._by_image)):
            at = slice(first, first + len(found.data))  # halves arrive in order
            yield order[at], total[at], found
            first = at.stop

    def rehearse(self, image: Tensor) -> None:
        """Run everything once, for two units of every head, whose signals are added where they meet.

        Args:
            image: (1, c, h, w), of any values; on the device `meta` nothing is computed but shapes and types.
        """
        record = self.forward(image if self.shares else image.repeat(2, 1, 1, 1))
        arrived = {}
        for head in self.heads:
            out = record.values[head]
            # The corner and the middle of the first map: windows that reach over an edge, and windows that do not.
            units = [(0,) * (out.dim() - 1), (0, *(size // 2 for size in out.shape[2:]))]
            arrived[head] = Windows.at(units, out.new_ones(2), out.shape[1])
        images = torch.zeros(2, dtype=torch.long, device=image.device) if self.shares else None
        for _ in self._walk(arrived, Walk(record, images, self._below, self._by_image)):
            pass

    def _walk(self, arrived: dict[fx.Node, Any], walk: Walk) -> Iterator[Windows]:
        """Pass what has arrived back to the pixels; where the windows outgrow MOST_CELLS, half of the units first.

        Args:
            arrived: The signals that wait at each node; at an operator of several outputs, a dict of them by index.
            walk: The walk.
        """
        n = next(len(s.data) for s in arrived.values() if isinstance(s, Windows))
        for node in reversed(self._nodes):
            if node not in arrived or node is self._pixels or node not in self._live:
                continue
            # By now all readers of this node have sent it their parts: they are later in the graph.
            with torch.no_grad():
                self._pass_back(node, arrived, walk)
            most = max((s.data.numel() for s in arrived.values() if isinstance(s, Windows)), default=0)
            # Each half goes all the way by itself. Where images are not shared, the record has one for each unit, and
            # half of the units would not fit it.
            if self.shares and n > 1 and most > MOST_CELLS:
                for half in _halved(arrived, walk):
                    yield from self._walk(*half)
                return
        shape = walk.record.shapes[self._pixels][1:]
        # No signal may have arrived at all, behind a comparison, say.
        nothing = walk.record.values[self.heads[0]].new_zeros(n, *shape)
        yield arrived.get(self._pixels) or Windows(nothing)

    def _pass_back(self, node: fx.Node, arrived: dict[fx.Node, Any], walk: Walk) -> None:
        self.at, signal = node, arrived.pop(node)
        if node.target is operator.getitem:
            # Collected by output index until all readers of the tuple are done.
            arrived.setdefault(node.args[0], {})[node.args[1]] = signal  # type: ignore[arg-type]
            return
        for below, part in self._adjoints[node].back(node, signal, walk):
            if below in self._live:
                others = arrived.get(below)  # at a fan-out the signals are added before anything else happens
                arrived[below] = part if others is None else others.plus(part, walk.record.shapes[below])

    def _has_batch_first(self, node: fx.Node) -> bool:
        """Return whether each image has one entry along a node's first dimension, so that it can serve many units."""
        if any(_is_number(n) for n in operands([node.args, node.kwargs])):
            return keeps_batch(node)
        spread = node.meta.get("spread")
        return spread is None or spread.roles[:1] == ("n",)


def _from_the_edge(unit: tuple[int, ...], shape: Sequence[int]) -> int:
    """Return a number by which units that lie alike to the edges are neighbours: the Z-order of their distances."""
    # Interleaves the bits of both distances, (row, col): near numbers are near in both.
    distances = [min(cell, shape[2 + i] - 1 - cell) for i, cell in enumerate(unit[1:])]
    return sum((d >> bit & 1) << 2 * bit + i for i, d in enumerate(distances) for bit in range(16))


def _constants(
    module: fx.GraphModule, nodes: Sequence[fx.Node], pixels: fx.Node
) -> tuple[dict[fx.Node, Any], set[fx.Node]]:
    """Return the values of all nodes that do not depend on the pixels, and the set of those that do."""
    values: dict[fx.Node, Any] = {}
    dependent: set[fx.Node] = set()
    with torch.no_grad():
        for node in nodes:
            if node.op == "get_attr":
                values[node] = module.get_buffer(str(node.target))
            elif node.op == "call_function":
                needed = list(operands([node.args, node.kwargs]))
                if any(n in dependent or n is pixels for n in needed):
                    dependent.add(node)
                else:
                    target: Any = node.target
                    args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                    values[node] = target(*args, **kwargs)
    return values, dependent


def _on(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _below(nodes: Sequence[fx.Node], pixels: fx.Node) -> dict[fx.Node, tuple[fx.Node, ...]]:
    """Return the nodes from which a signal can reach the pixels, each with the operands through which it can."""
    # Operands come first in the graph, so whether they reach the pixels is known.
    below: dict[fx.Node, tuple[fx.Node, ...]] = {pixels: ()}
    for node in nodes:
        found = tuple(n for n in operands_passed(node) if n in below)
        if found:
            below[node] = found
    return below


def _adjoint_of(node: fx.Node, dependent: Set[fx.Node]) -> Adjoint:
    """Return the adjoint of a node: its operator's own where that serves, else PyTorch's derivative on whole maps."""
    own = operator_of(node).adjoint
    # The derivative takes the conjugate, which an adjoint for real numbers does not.
    is_complex = any(_is_complex(n) for n in (node, *node.all_input_nodes))
    serves = own.of_complex if is_complex else own.fits(node, dependent)
    return own if serves else ON_WHOLE_MAPS


def _is_complex(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_complex()


def _has_an_entry_for_each(node: fx.Node, pixels: fx.Node) -> bool:
    """Return whether a node's first dimension is that of the images."""
    spread, value = node.meta.get("spread"), node.meta.get("val")
    if spread is not None:
        return spread.roles[:1] == ("n",)  # type: ignore[no-any-return]
    # A symbolic size is the same as another where it prints the same; comparing them would put a guard on them.
    if isinstance(value, Tensor):  # it has the shape of something that depends on the pixels, not its values
        return value.dim() > 0 and str(value.shape[0]) == str(pixels.meta["val"].shape[0])
    return True  # what a rule has put beside a node of the path


def _is_number(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), (int, float, torch.SymInt, torch.SymFloat))


def _halved(arrived: dict[fx.Node, Any], walk: Walk) -> Iterator[tuple[dict[fx.Node, Any], Walk]]:
    """Yield what has arrived of the first half of the units, and of the second, each with its walk."""
    n = next(len(s.data) for s in arrived.values() if isinstance(s, Windows))
    images = torch.arange(n) if walk.image_of is None else walk.image_of
    for i, part in enumerate((slice(n // 2), slice(n // 2, None))):
        halves = {
            node: {k: s.halves()[i] for k, s in own.items()} if isinstance(own, dict) else own.halves()[i]
            for node, own in arrived.items()
        }
        yield halves, replace(walk, image_of=images[part])
