"""Gates: products, norms and attention, whose data-dependent factor is recorded and held fixed.

*Source*: docs/rules.md; `identity` for contrast normalisation is that of Mahendran & Vedaldi (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.carry import carry
from backlight.operators.paths import ADDED_FIRST, ATTENTION, CHOOSERS, POWERS, aten, module_of, packet
from backlight.operators.ruleset import RuleSet


def frozen_layer_norm(
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
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


def frozen_rms_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Return root-mean-square normalisation of x, its scale held fixed on the way down."""
    floor = torch.finfo(x.dtype).eps if eps is None else eps
    dims = tuple(range(-len(shape), 0))
    scale = (x.detach().square().mean(dims, keepdim=True) + floor).rsqrt()
    value = torch.ops.aten.rms_norm.default(x.detach(), shape, weight, eps)
    return carry(x * scale if weight is None else x * scale * weight, value)


def frozen_power(x: Tensor, exponent: Tensor | float | int, value: Tensor) -> Tensor:
    """Return value = x ** exponent, whose way down multiplies by x ** (exponent - 1); where that is infinite, by 0."""
    factor = x.detach() ** (exponent - 1)
    return carry(x * torch.where(factor.isfinite(), factor, 0), value)


def frozen_glu(x: Tensor, dim: int = -1) -> Tensor:
    """Return the gated linear unit of x: its first half times the sigmoid of its second, which is held fixed."""
    signal, gate = x.chunk(2, dim)
    return carry(signal * gate.detach().sigmoid(), torch.nn.functional.glu(x.detach(), dim))


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
    return _UndoDivision.apply(x, divisor.detach())  # type: ignore[no-any-return]


def carried_division(x: Tensor, divisor: Tensor) -> Tensor:
    """Return x / divisor, with a way down that passes the signal as it is."""
    return carry(x, x.detach() / divisor)


def _frozen_native_layer_norm(*args: Any) -> tuple[Tensor]:
    return (frozen_layer_norm(*args),)


def _frozen_native_group_norm(x: Tensor, weight: Any, bias: Any, *sizes: Any) -> tuple[Tensor]:
    *_, n_groups, eps = sizes
    return (frozen_group_norm(x, n_groups, weight, bias, eps),)


# Each with the number of arguments that it takes; what torch adds to them says only how to compute.
_FROZEN: dict[Any, tuple[Callable[..., Any], int]] = {
    aten.layer_norm: (frozen_layer_norm, 5),
    aten.native_layer_norm: (_frozen_native_layer_norm, 5),
    aten.group_norm: (frozen_group_norm, 5),
    aten.native_group_norm: (_frozen_native_group_norm, 8),
    aten.instance_norm: (frozen_instance_norm, 9),
    aten.rms_norm: (frozen_rms_norm, 4),
    aten.glu: (frozen_glu, 2),
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
        divide = carried_division if rules.lrn == "identity" else inverse_division
        return graph.call_function(divide, args[:2])
    target: Any = node.target
    if packet(node) in _FROZEN:
        replacement, n_args = _FROZEN[packet(node)]
        return graph.call_function(replacement, args[:n_args])
    if packet(node) in POWERS:
        value = graph.call_function(target, (graph.call_function(torch.detach, args[:1]), *args[1:]), kwargs)
        return graph.call_function(frozen_power, (args[0], POWERS[packet(node)] or args[1], value))
    frozen = {factor: graph.call_function(torch.detach, (factor,)) for factor in factors}
    added = args[:1] if packet(node) in ADDED_FIRST else ()  # passes the signal even if it is a factor too
    args = (*added, *fx.map_arg(args[len(added) :], lambda n: frozen.get(n, n)))
    kwargs = fx.map_arg(kwargs, lambda n: frozen.get(n, n))
    if packet(node) in ATTENTION:  # query and key may be the value itself
        args = (*(graph.call_function(torch.detach, (a,)) for a in args[:2]), *args[2:])
    elif packet(node) not in CHOOSERS:
        args = (*added, *_with_repeats_frozen(graph, args[len(added) :]))
    return graph.call_function(target, args, kwargs)


def _with_repeats_frozen(graph: fx.Graph, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a product's arguments where of equal factors, as in x * x, only the first passes the signal."""
    seen: set[fx.Node] = set()

    def freeze(node: fx.Node) -> fx.Node:
        if node in seen:
            return graph.call_function(torch.detach, (node,))
        seen.add(node)
        return node

    return fx.map_arg(args, freeze)


def is_local_response_norm(node: fx.Node) -> bool:
    """Return whether a node is the division of a local response normalisation, as a module or a function."""
    function = (node.meta.get("torch_fn") or ("", ""))[1]
    named = module_of(node) == "LocalResponseNorm" or function.endswith(".local_response_norm")
    return named and packet(node) is aten.div
