"""Following maps through a captured network: which weights make them, and which read them."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from backlight.errors import RemedyError
from backlight.network import Network
from backlight.operators.reading import arguments, aten, operator_name, packet
from backlight.operators.table import is_batch_norm, is_convolution, operator_of
from backlight.studies.diagnosis.remedies.carried import MixedError, Part, Probe
from backlight.studies.diagnosis.remedies.flow import Flow, Read

_NORM = ("weight", "bias", "running_mean", "running_var")
_PRELU = (aten.prelu, aten._prelu_kernel)


class Follower:
    """Follows maps of a captured network.

    Args:
        net: The network.
    """

    def __init__(self, net: Network) -> None:
        self.net, self._probe = net, Probe(net)

    def makers(self, node: fx.Node, part: Part) -> dict[fx.Node, Part]:
        """Return the convolutions and linear maps that make a part of a node's value, and which outputs of each.

        Raises:
            RemedyError: It is not made by such alone: the image itself, or what mixes maps, goes into it.
        """
        found: dict[fx.Node, set[int]] = defaultdict(set)
        dims: dict[fx.Node, int] = {}
        todo, seen = [(node, part)], set[tuple[fx.Node, Part]]()
        while todo:
            current, own = todo.pop()
            if (current, own) in seen:
                continue
            seen.add((current, own))
            if self._makes(current, own):
                found[current] |= set(own.indices)
                dims[current] = own.dim
            else:
                todo += self._below(current, own).items()
        return {maker: Part(dims[maker], tuple(sorted(indices))) for maker, indices in found.items()}

    def steps(self, node: fx.Node, part: Part) -> list[tuple[fx.Node, Part]]:
        """Return the nodes from a node back to what makes a part of its value, that last, where there is one way only.

        Raises:
            RemedyError: Several nodes feed the part, or nothing makes it by weights.
        """
        found = [(node, part)]
        while not (self._makes(node, part) or (is_convolution(node) and self._is_depthwise(node))):
            if node.target is operator.getitem and is_batch_norm(node.args[0]):  # type: ignore[arg-type]
                found.append((node.args[0], part))  # type: ignore[arg-type]
            below = self._below(node, part)
            if len(below) > 1:
                raise RemedyError(f"{self.net.where(node)!r} joins several convolutions")
            ((node, part),) = below.items()
            found.append((node, part))
        return found

    def _makes(self, node: fx.Node, part: Part) -> bool:
        """Return whether a node's weights make the part, one filter for each of its indices."""
        if node.op == "placeholder":
            raise RemedyError("the image itself goes into them")
        if node.op == "get_attr":
            raise RemedyError(f"the weights {node.meta['parameter']!r} go into them as they are")
        if is_convolution(node):
            return part.dim == 1 and not self._is_depthwise(node)
        return operator_of(node).maps_channels and part.dim == len(self._probe.sizes(node)) - 1

    def _below(self, node: fx.Node, part: Part) -> Mapping[fx.Node, Part]:
        """Return the parts of a node's operands from which the part of its value is made."""
        output, made_by = 0, node
        if node.target is operator.getitem:
            made_by, output = node.args[0], node.args[1]  # type: ignore[assignment]
        below: Any = made_by.args[0] if made_by.args else None
        if is_batch_norm(made_by) and part.dim == 1:
            return {below: part}
        if is_convolution(made_by) and self._is_depthwise(made_by) and part.dim == 1:
            each = self._probe.sizes(made_by)[1] // self._probe.sizes(below)[1]
            inputs = sorted({index // each for index in part.indices})
            if len(inputs) * each != len(part.indices):
                raise RemedyError(
                    f"{self.net.where(made_by)!r} makes several maps of one, not all of which are lost"
                )
            return {below: Part(1, tuple(inputs))}
        try:
            found = self._probe.back(made_by, part, output)
        except MixedError as error:
            raise RemedyError(
                f"{self.net.where(made_by)!r} ({operator_name(made_by)}) mixes them with others"
            ) from error
        if not found:
            raise RemedyError(
                f"{self.net.where(made_by)!r} ({operator_name(made_by)}) makes them of no weights that can be cut"
            )
        return found

    def onward(self, starts: Mapping[fx.Node, Part], *, stop_at_norms: bool = False) -> Flow:
        """Follow parts of nodes' values to all that reads them.

        Args:
            starts: The parts. A convolution or linear map among them loses these outputs.
            stop_at_norms: Whether depthwise convolutions and batch norms, which have weights for each map, are reads.

        Raises:
            MixedError: An operator other than a convolution or a linear map mixes them with others.
            RemedyError: They reach a place that cannot lose them.
        """
        flow = Flow()
        for node in self.net.module.graph.nodes:
            if node in starts:
                flow.parts[node] = starts[node]
                self._start(flow, node, starts[node])
            parts = {n: flow.parts[n] for n in node.all_input_nodes if n in flow.parts}
            if parts and node.target is not operator.getitem:
                self._step(flow, node, parts, stop_at_norms)
            elif parts:
                several = flow.several.get(node.args[0])
                part = several[node.args[1]] if several else None
                if part is not None:
                    flow.parts[node] = part
        return flow

    def _start(self, flow: Flow, node: fx.Node, part: Part) -> None:
        """Note what a convolution or linear map loses with some of its outputs."""
        if not (is_convolution(node) or operator_of(node).maps_channels):
            return
        weight, bias = self._weights(node)
        groups, transposed = _form(node)
        if groups > 1:
            each = self._probe.sizes(node)[1] // groups
            counts = {sum(i // each == group for i in part.indices) for group in range(groups)}
            if len(counts) > 1 or transposed:
                raise RemedyError(
                    f"{self.net.where(node)!r} has {groups} groups, each of which must lose as many maps as the others"
                )
        flow.lose(weight, node, 1 if transposed else 0, part.indices)
        if bias is not None:
            flow.lose(bias, node, 0, part.indices)

    def _step(self, flow: Flow, node: fx.Node, parts: dict[fx.Node, Part], stop_at_norms: bool) -> None:
        """Follow the parts of a node's operands through it."""
        if node.op == "output":
            raise RemedyError("they are part of what the model returns")
        below: Any = node.args[0] if node.args else None
        own = parts.get(below) if isinstance(below, fx.Node) else None
        if is_convolution(node) and own is not None:
            self._through_convolution(flow, node, own, stop_at_norms)
        elif operator_of(node).maps_channels and own is not None:
            self._through_linear(flow, node, own)
        elif is_batch_norm(node) and own is not None and own.dim == 1:
            self._through_norm(flow, node, own, stop_at_norms)
        else:
            self._through(flow, node, parts)

    def _through_convolution(self, flow: Flow, node: fx.Node, part: Part, stop: bool) -> None:
        weight, bias = self._weights(node)
        below: Any = node.args[0]
        groups, transposed = _form(node)
        if part.dim != 1:
            raise RemedyError(f"they are not channels of what {self.net.where(node)!r} reads")
        if self._is_depthwise(node):
            each = self._probe.sizes(node)[1] // groups
            outputs = tuple(i * each + k for i in part.indices for k in range(each))
            rows = part.indices if transposed else outputs
            if stop:
                flow.reads.append(Read(node, below, str(weight.meta["parameter"]), 0, rows))
                return
            flow.lose(weight, node, 0, rows)
            if bias is not None:
                flow.lose(bias, node, 0, outputs)
            flow.parts[node] = Part(1, outputs)
            return
        if groups > 1:
            raise RemedyError(
                f"{self.net.where(node)!r}, which reads them, has {groups} groups of a fixed width"
            )
        dim = 0 if transposed else 1
        flow.lose(weight, node, dim, part.indices)
        flow.reads.append(Read(node, below, str(weight.meta["parameter"]), dim, part.indices))

    def _through_linear(self, flow: Flow, node: fx.Node, part: Part) -> None:
        below: Any = node.args[0]
        if part.dim != len(self._probe.sizes(below)) - 1:
            flow.parts[node] = part
            return
        weight, _ = self._weights(node)
        flow.lose(weight, node, 1, part.indices)
        flow.reads.append(Read(node, below, str(weight.meta["parameter"]), 1, part.indices))

    def _through_norm(self, flow: Flow, node: fx.Node, part: Part, stop: bool) -> None:
        given, below = arguments(node), node.args[0]
        weights = [self._stored(node, given[name]) for name in _NORM if given.get(name) is not None]
        if stop:
            assert isinstance(below, fx.Node)
            flow.reads.append(Read(node, below, str(weights[0].meta["parameter"]), 0, part.indices))
            return
        for weight in weights:
            flow.lose(weight, node, 0, part.indices)
        flow.parts[node], flow.several[node] = part, [part, None, None]

    def _through(self, flow: Flow, node: fx.Node, parts: dict[fx.Node, Part]) -> None:
        found = self._probe.onward(node, parts)
        first = next((part for part in found if part is not None), None)
        if first is None:
            return
        flow.parts[node], flow.several[node] = first, found
        flow.passed.append((node, parts))
        is_pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ())
        for weight in (n for n in node.all_input_nodes if n.op == "get_attr"):
            shape, sizes = weight.meta["val"].shape, self._probe.sizes(node)
            if packet(node) in _PRELU and len(shape) == 1:
                dim = 0
            elif is_pointwise:  # broadcast: dimensions are aligned from the last one
                dim = first.dim - (len(sizes) - len(shape))
            else:
                continue
            if dim >= 0 and shape[dim] > 1:
                flow.lose(self._stored(node, weight), node, dim, first.indices)

    def check_scaling(self, flow: Flow) -> None:
        """Raise RemedyError unless multiples of the followed maps stay multiples up to all that reads them."""
        for node, parts in flow.passed:
            if not self._probe.scales(node, parts, flow.parts[node]):
                raise RemedyError(
                    f"what {self.net.where(node)!r} ({operator_name(node)}) gives does not scale with them, "
                    "as a plain rectifier's output would"
                )

    def _weights(self, node: fx.Node) -> tuple[fx.Node, fx.Node | None]:
        """Return the weight and the bias of a convolution or linear map."""
        given = arguments(node)
        bias = given.get("bias")
        return self._stored(node, given["weight"]), None if bias is None else self._stored(node, bias)

    def _stored(self, node: fx.Node, weight: Any) -> fx.Node:
        if not isinstance(weight, fx.Node) or weight.op != "get_attr":
            raise RemedyError(f"the weights of {self.net.where(node)!r} are computed in each run")
        return weight

    def _is_depthwise(self, node: fx.Node) -> bool:
        below: Any = node.args[0]
        groups, _ = _form(node)
        return groups > 1 and groups == self._probe.sizes(below)[1]


def _form(node: fx.Node) -> tuple[int, bool]:
    """Return the groups of a convolution and whether it is transposed; of a linear map, one group."""
    if not is_convolution(node):
        return 1, False
    given = arguments(node)
    return int(given.get("groups", 1)), bool(given.get("transposed", "transpose" in operator_name(node)))
