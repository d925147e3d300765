"""Parts of tensors, and how an operator carries them: where some indices of its inputs go, and where they come from.

No operator is known here by name. It is run on random numbers, of which those of a part are changed, and then those of
the rest: a dimension whose entries answer to one of the two alone carries the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from backlight.network import Network

_LOW, _HIGH = 0.2, 0.8
"""Between these the usual rectifiers and squashes rise strictly, saturating ones too."""
_SAME, _WIDE = 1e-6, 200 / (_HIGH - _LOW)


@dataclass(frozen=True)
class Part:
    """Some indices along one dimension of a tensor.

    Attributes:
        dim: The dimension.
        indices: The indices, rising.
    """

    dim: int
    indices: tuple[int, ...]


class MixedError(Exception):
    """An operator whose outputs depend on a part and on the rest at once.

    Attributes:
        node: The operator.
        touched: Parts of its output that change with the part alone or with both, one for each dimension that is not
            touched throughout.
    """

    def __init__(self, node: fx.Node, touched: tuple[Part, ...] = ()) -> None:
        super().__init__(node.name)
        self.node, self.touched = node, touched


class Probe:
    """Runs single operators of a captured network on random numbers.

    Args:
        net: The network.
        seed: Random seed of the numbers.
    """

    def __init__(self, net: Network, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        images = torch.rand((2, *net.input_shape), generator=self._generator).to(net.device, net.dtype)
        run = fx.Interpreter(net.module, garbage_collect_values=False)
        with torch.no_grad():
            run.run(images)
        self._values: dict[fx.Node, Any] = run.env

    def sizes(self, node: fx.Node) -> tuple[int, ...]:
        """Return the shape of a node's tensor for two images."""
        return tuple(self._values[node].shape)

    def onward(self, node: fx.Node, parts: Mapping[fx.Node, Part]) -> list[Part | None]:
        """Return which part of each of an operator's outputs depends on parts of its operands; None where none does.

        Args:
            node: The operator.
            parts: The parts of those operands that have any.

        Raises:
            MixedError: An output depends on the parts and on the rest along every dimension.
        """
        if not any(isinstance(value, Tensor) for value in _values(self._values[node])):  # a size
            return []
        base = self._drawn(node)
        other = {operand: self._uniform(value) for operand, value in base.items()}
        lost, rest = dict(base), dict(base)
        for operand, value in base.items():
            inside = torch.zeros(value.shape, dtype=torch.bool, device=value.device)
            if operand in parts:
                index = torch.tensor(parts[operand].indices, device=value.device)
                inside.index_fill_(parts[operand].dim, index, True)
            lost[operand] = torch.where(inside, other[operand], value)
            rest[operand] = torch.where(inside, value, other[operand])
        with torch.no_grad():
            before, with_lost, with_rest = (_values(self._run(node, own)) for own in (base, lost, rest))
        return [
            _separated(node, _differ(one, two), _differ(one, three))
            for one, two, three in zip(before, with_lost, with_rest, strict=True)
        ]

    def back(self, node: fx.Node, part: Part, output: int = 0) -> dict[fx.Node, Part]:
        """Return the parts of an operator's operands that a part of one of its outputs is made from.

        Raises:
            MixedError: An operand goes into the part and into the rest along every dimension.
        """
        given = {operand: value.requires_grad_() for operand, value in self._drawn(node).items()}
        if not given:
            return {}
        with torch.enable_grad():
            value = _values(self._run(node, given))[output]
        if not value.requires_grad:  # an output without a gradient, such as a comparison
            raise MixedError(node)
        inside = torch.zeros(value.shape, dtype=value.dtype, device=value.device)
        inside.index_fill_(part.dim, torch.tensor(part.indices, device=value.device), 1)
        found = {}
        # (1, the part) and (2, the rest): which entries of each operand have a gradient from either
        reached = [
            torch.autograd.grad(value, list(given.values()), own, retain_graph=True, allow_unused=True)
            for own in (inside, 1 - inside)
        ]
        for operand, lost, rest in zip(given, *reached, strict=True):
            if lost is not None and bool(lost.any()):
                rest = torch.zeros_like(lost) if rest is None else rest
                made = _separated(node, lost != 0, rest != 0)
                if made is not None:
                    found[operand] = made
        return found

    def scales(self, node: fx.Node, parts: Mapping[fx.Node, Part], part: Part) -> bool:
        """Return whether a part of an operator's first output is twice as large where parts of its operands are.

        Args:
            node: The operator.
            parts: The parts of its operands.
            part: The part of its output.

        *Convention*: tried on numbers from -100 to 100, at which all saturating rectifiers saturate.
        """
        base = {operand: (value - 0.5) * _WIDE for operand, value in self._drawn(node).items()}
        twice = {
            operand: value.index_copy(own.dim, index, 2 * value.index_select(own.dim, index))
            for operand, value in base.items()
            if (own := parts.get(operand))
            and (index := torch.tensor(own.indices, device=value.device)).numel()
        }
        with torch.no_grad():
            before, after = (_values(self._run(node, own))[0] for own in (base, {**base, **twice}))
        index = torch.tensor(part.indices, device=before.device)
        one, two = (own.index_select(part.dim, index) for own in (before, after))
        return bool(torch.allclose(2 * one, two, rtol=1e-4, atol=1e-4))

    def _drawn(self, node: fx.Node) -> dict[fx.Node, Tensor]:
        """Return random numbers for each floating operand that is not a weight."""
        operands = [n for n in node.all_input_nodes if n.op != "get_attr"]
        floating = [
            n for n in operands if isinstance(self._values[n], Tensor) and self._values[n].is_floating_point()
        ]
        return {operand: self._uniform(self._values[operand]) for operand in floating}

    def _uniform(self, like: Tensor) -> Tensor:
        drawn = torch.rand(like.shape, generator=self._generator) * (_HIGH - _LOW) + _LOW
        return drawn.to(like.device, like.dtype)

    def _run(self, node: fx.Node, replaced: Mapping[fx.Node, Tensor]) -> Any:
        def value_of(operand: fx.Node) -> Any:
            return replaced[operand] if operand in replaced else self._values[operand]

        args, kwargs = fx.map_arg(node.args, value_of), fx.map_arg(node.kwargs, value_of)
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _differ(one: Tensor, other: Tensor) -> Tensor:
    if not one.is_floating_point():
        return one != other
    return ~torch.isclose(one, other, rtol=_SAME, atol=_SAME, equal_nan=True)


def _separated(node: fx.Node, lost: Tensor, rest: Tensor) -> Part | None:
    """Return the dimension and indices that answer to the part alone; None where nothing answers to it."""
    if not lost.any():
        return None
    touched = []
    for dim in range(lost.dim()):
        others = [d for d in range(lost.dim()) if d != dim]
        with_lost, with_rest = (own.sum(others) > 0 if others else own for own in (lost, rest))
        part = Part(dim, tuple(torch.nonzero(with_lost)[:, 0].tolist()))
        # of a tensor that answers to nothing else, everything would be lost
        if rest.any() and not (with_lost & with_rest).any():
            return part
        if not with_lost.all():
            touched.append(part)
    raise MixedError(node, tuple(touched))
