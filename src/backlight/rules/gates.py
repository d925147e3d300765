"""Gates: products, norms and attention, whose data-dependent factor is recorded and held fixed.

*Source*: METHODS.md 1.3 (contrast normalisation) and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from backlight.network.names import module_of
from backlight.network.operators import ATTENTION, NORMALISATIONS, aten, packet
from backlight.rules.carry import carry
from backlight.rules.ruleset import RuleSet


def frozen_layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Return layer normalisation of x, its standard deviation held fixed on the way down; the mean is not."""
    dims = tuple(range(-len(shape), 0))
    scale = (x.detach().var(dims, correction=0, keepdim=True) + eps).rsqrt()
    centred = (x - x.mean(dims, keepdim=True)) * scale
    return carry(
        centred if weight is None else centred * weight,
        torch.ops.aten.layer_norm.default(x.detach(), shape, weight, bias, eps),
    )


def frozen_group_norm(
    x: Tensor, n_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Return group normalisation of x (n, c, ...), each group's standard deviation held fixed on the way down."""
    grouped = x.reshape(x.shape[0], n_groups, -1)
    scale = (grouped.detach().var(-1, correction=0, keepdim=True) + eps).rsqrt()
    centred = ((grouped - grouped.mean(-1, keepdim=True)) * scale).reshape(x.shape)
    if weight is not None:
        centred = centred * weight.reshape(-1, *[1] * (x.dim() - 2))
    return carry(centred, torch.ops.aten.group_norm.default(x.detach(), n_groups, weight, bias, eps))


def frozen_instance_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *options: Any) -> Tensor:
    """Return instance normalisation of x (n, c, ...), each map's standard deviation held fixed on the way down."""
    frozen = frozen_group_norm(x, x.shape[1], weight, bias, options[-2])
    return carry(frozen, torch.ops.aten.instance_norm.default(x.detach(), weight, bias, *options))


def frozen_rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Return root-mean-square normalisation of x, its scale held fixed on the way down."""
    floor = torch.finfo(x.dtype).eps if eps is None else eps
    dims = tuple(range(-len(shape), 0))
    scale = (x.detach().square().mean(dims, keepdim=True) + floor).rsqrt()
    value = torch.ops.aten.rms_norm.default(x.detach(), shape, weight, eps)
    return carry(x * scale if weight is None else x * scale * weight, value)


class _UndoDivision(torch.autograd.Function):
    """Forward: the quotient. Backward: the signal times the divisor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, divisor: Tensor) -> Tensor:
        ctx.save_for_backward(divisor)
        return x / divisor

    @staticmethod
    def backward(ctx: Any, *signal: Tensor) -> tuple[Tensor, None]:
        return signal[0] * ctx.saved_tensors[0], None


def inverse_division(x: Tensor, divisor: Tensor) -> Tensor:
    """Return x / divisor, with a way down that multiplies by the divisor."""
    return _UndoDivision.apply(x, divisor.detach())  # type: ignore[no-any-return, no-untyped-call]


def carried_division(x: Tensor, divisor: Tensor) -> Tensor:
    """Return x / divisor, with a way down that passes the signal as it is."""
    return carry(x, x.detach() / divisor)


_FROZEN_NORMS = {
    aten.layer_norm: frozen_layer_norm,
    aten.group_norm: frozen_group_norm,
    aten.instance_norm: frozen_instance_norm,
    aten.rms_norm: frozen_rms_norm,
}


def replace_gate(
    graph: fx.Graph,
    node: fx.Node,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    rules: RuleSet,
    factors: frozenset[fx.Node],
) -> fx.Node | None:
    """Return the gate with its factors held fixed.

    Args:
        graph: The graph that is being built.
        node: The gate in the captured graph.
        args: Its arguments in the new graph.
        kwargs: Its keyword arguments in the new graph.
        rules: The rule set; `lrn` applies to divisions made by local response normalisation.
        factors: The nodes of the new graph that are factors of this gate.
    """
    is_lrn = is_local_response_norm(node)
    if (rules.lrn if is_lrn else rules.gates) == "vjp":
        return None
    if is_lrn and rules.lrn != "frozen":
        function = carried_division if rules.lrn == "identity" else inverse_division
        return graph.call_function(function, args[:2])
    if packet(node) in NORMALISATIONS:
        function = _FROZEN_NORMS[packet(node)]
        kept = args[:5] if function is not frozen_instance_norm else args
        return graph.call_function(function, kept)
    frozen = {factor: graph.call_function(torch.detach, (factor,)) for factor in factors}
    args, kwargs = (fx.map_arg(a, lambda n: frozen.get(n, n)) for a in (args, kwargs))
    if packet(node) in ATTENTION:  # query and key may be the value itself
        args = (*(graph.call_function(torch.detach, (a,)) for a in args[:2]), *args[2:])
    elif packet(node) not in (aten.where, aten.masked_fill):
        args = _with_repeats_frozen(graph, args)
    return graph.call_function(node.target, args, kwargs)


def _with_repeats_frozen(graph: fx.Graph, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a product's arguments where of equal factors, as in x * x, only the first passes the signal."""
    seen: set[fx.Node] = set()

    def freeze(node: fx.Node) -> fx.Node:
        if node in seen:
            return graph.call_function(torch.detach, (node,))
        seen.add(node)
        return node

    return fx.map_arg(args, freeze)  # type: ignore[no-any-return]


def is_local_response_norm(node: fx.Node) -> bool:
    """Return whether a node is the division of a local response normalisation, as a module or a function."""
    function = (node.meta.get("torch_fn") or ("", ""))[1]
    named = module_of(node) == "LocalResponseNorm" or function.endswith(".local_response_norm")
    return named and packet(node) is aten.div
