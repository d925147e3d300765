"""Norms: gates whose factor, the scale, is made from the signal; it is recorded and held fixed, the mean is not.

*Source*: docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators import local
from backlight.operators.adjoint import ON_WHOLE_MAPS, Adjoint, Below, Walk, in_place
from backlight.operators.carry import carry
from backlight.operators.fields import of_one_signal, unchanged
from backlight.operators.kinds import gate, holds_all_but_first_signal, linear_in_first
from backlight.operators.operator import Example, Operator, OperatorClass, Origin, Paths, Rewriting, Rule
from backlight.operators.reading import arguments, aten
from backlight.operators.spread import Spread
from backlight.operators.windows import Windows

# --- rules ----------------------------------------------------------------------------------------------------


def frozen_layer_norm(
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return layer normalisation of x, its standard deviation held fixed in the backward pass; the mean is not."""
    dims = tuple(range(-len(shape), 0))  # the last ones; scale has size 1 along them
    # The scale is a constant of the backward pass, so its derivative is that of a linear map: centre, then scale.
    scale = (x.detach().var(dims, correction=0, keepdim=True) + eps).rsqrt()
    centred = (x - x.mean(dims, keepdim=True)) * scale
    return carry(
        centred if weight is None else centred * weight,
        torch.ops.aten.layer_norm.default(x.detach(), shape, weight, bias, eps),
    )


def frozen_group_norm(
    x: Tensor, n_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Return group normalisation of x (n, c, ...), each group's standard deviation held fixed in the backward pass."""
    # (n, g, c / g * h * w): one mean and one scale for each (n, g)
    grouped = x.reshape(x.shape[0], n_groups, -1)
    scale = (grouped.detach().var(-1, correction=0, keepdim=True) + eps).rsqrt()
    centred = ((grouped - grouped.mean(-1, keepdim=True)) * scale).reshape(x.shape)
    if weight is not None:
        # (c,) -> (c, 1, 1)
        centred = centred * weight.reshape(-1, *[1] * (x.dim() - 2))
    return carry(centred, torch.ops.aten.group_norm.default(x.detach(), n_groups, weight, bias, eps))


def frozen_instance_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *options: Any) -> Tensor:
    """Return instance normalisation of x (n, c, ...), each map's standard deviation held fixed in the backward pass."""
    # A group for each channel; eps is the last option but one, before cudnn_enabled.
    frozen = frozen_group_norm(x, x.shape[1], weight, bias, options[-2])
    return carry(frozen, torch.ops.aten.instance_norm.default(x.detach(), weight, bias, *options))


def frozen_rms_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Return root-mean-square normalisation of x, its scale held fixed in the backward pass."""
    floor = torch.finfo(x.dtype).eps if eps is None else eps  # as torch reads None
    # As in a layer norm, but nothing is subtracted: with its scale held fixed the norm is a product.
    dims = tuple(range(-len(shape), 0))
    scale = (x.detach().square().mean(dims, keepdim=True) + floor).rsqrt()
    value = torch.ops.aten.rms_norm.default(x.detach(), shape, weight, eps)
    return carry(x * scale if weight is None else x * scale * weight, value)


def _frozen_native_layer_norm(*args: Any) -> tuple[Tensor]:
    # torch's gives (value, mean, 1 / deviation), of which a network reads the value.
    return (frozen_layer_norm(*args),)


def _frozen_native_group_norm(x: Tensor, weight: Any, bias: Any, *sizes: Any) -> tuple[Tensor]:
    *_, n_groups, eps = sizes  # n, c, h * w, groups, eps
    return (frozen_group_norm(x, n_groups, weight, bias, eps),)


def _hold_scale(frozen: Callable[..., Any], n_args: int) -> Rule:
    """Return the rule that holds a norm's scale fixed.

    Args:
        frozen: The norm with its scale held fixed.
        n_args: How many of the arguments it takes; what torch adds to them says only how to compute.
    """

    def rule(at: Rewriting) -> fx.Node | None:
        """Hold the scale fixed; a mean that is subtracted is not held."""
        return at.call(frozen, *at.args[:n_args]) if at.holds_factors else None

    return rule


# --- kinds and fields -----------------------------------------------------------------------------------------


def _kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate whose factor is the scale."""
    is_gate = paths.first_only(node) or bool(paths.held_fixed(node))
    return gate(node, paths) if is_gate else OperatorClass.UNKNOWN


def _instance_kind(node: fx.Node, paths: Paths) -> OperatorClass:
    """A gate whose factor is the scale; linear by running statistics."""
    if node.args[5]:  # use_input_stats: by its own mean and variance
        return _kind(node, paths)
    return linear_in_first(node, paths)


def _normalised(node: fx.Node, spread: Spread, without_mean: bool = False) -> Spread:
    """The whole image along the dimensions that the mean is taken over; along the others the same place.

    The subtraction of the mean stays in the backward pass: only the scale is held fixed. Without a mean (rms_norm) the
    field stays; that its factor sees more is noted.
    """
    given = arguments(node)
    if not given.get("use_input_stats", True):
        return spread  # by running statistics: constants
    # A layer norm names the last dimensions by their sizes; group and instance norms take all behind the batch.
    shape = given.get("normalized_shape")
    if shape and len(shape) == 1 and spread.roles[-1] == "" and "c" not in spread.roles:
        spread = replace(spread, roles=(*spread.roles[:-1], "c"))  # as its definition says
    mixed = spread.averaged(range(len(spread.roles))[-len(shape) if shape else 1 :])
    if not without_mean:
        return mixed
    # Only the scale, a factor, sees these positions; the signal itself stays in its place.
    spans = (mixed.rows, mixed.cols) != (spread.rows, spread.cols)
    return replace(spread, gates_ignored=spread.gates_ignored or spans)


def _scaled(node: fx.Node, spread: Spread) -> Spread:
    """What the operand sees in the same place; that the scale sees more is noted (*gates ignored*)."""
    return _normalised(node, spread, without_mean=True)


# --- the backward pass ----------------------------------------------------------------------------------------


def _normalise_last(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Differentiate a layer norm over the last dimensions, on the windows along the others."""
    # The mean runs over the last dimensions, so the signal is needed there in full; windows stay along the others.
    rank = signal.data.dim()
    for dim in range(rank - len(node.args[1]), rank):  # type: ignore[arg-type]
        signal = signal.along(dim, walk.record.shapes[node])
    return in_place(node, signal, walk)


def _normalise_maps(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Differentiate an instance norm; torch misreads one image's signal with its channels last."""
    signal = signal.whole(walk.record.shapes[node])
    return ON_WHOLE_MAPS.back(node, signal.with_data(signal.data.contiguous()), walk)


# --- the entries ----------------------------------------------------------------------------------------------

_OVER_LAST = Adjoint(_normalise_last, needs_values=True)
_OVER_MAPS = Adjoint(_normalise_maps, ON_WHOLE_MAPS.label, needs_values=True, of_complex=True)


def _norm(
    name: str, rule: Rule, function: Callable[[Tensor], Tensor], gives_maps: bool = False, **more: Any
) -> Operator:
    entry = Operator(
        (name,),
        kind=_kind,
        holds=holds_all_but_first_signal,
        field=of_one_signal(_normalised),
        gives_maps=gives_maps,
        rule=rule,
        examples=(Example(function),),
    )
    return replace(entry, **more)


def _channels_last(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: function(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _batch_norm(x: Tensor) -> Tensor:
    numbers = torch.arange(1, 4, dtype=x.dtype, device=x.device)
    return F.batch_norm(x, numbers / 4, numbers, numbers / 2, -numbers)


OPERATORS = (
    # By the statistics of the batch, images would be mixed: only the norm of a trained network has an entry.
    Operator(
        ("_native_batch_norm_legit_no_training",),
        kind=linear_in_first,
        origin=Origin.MIXTURES,
        field=unchanged,
        gives_maps=True,
        is_local=local.by_channel,
        examples=(Example(_batch_norm),),
    ),
    Operator(("batch_norm",), field=unchanged, gives_maps=True),
    _norm(
        "layer_norm",
        _hold_scale(frozen_layer_norm, 5),
        _channels_last(lambda x: F.layer_norm(x, [3])),
        adjoint=_OVER_LAST,
        is_local=local.by_definition,
    ),
    _norm(
        "native_layer_norm",
        _hold_scale(_frozen_native_layer_norm, 5),
        _channels_last(lambda x: aten.native_layer_norm.default(x, [3], None, None, 1e-5)[0]),
    ),
    _norm("group_norm", _hold_scale(frozen_group_norm, 5), lambda x: F.group_norm(x, 1), gives_maps=True),
    _norm(
        "native_group_norm",
        _hold_scale(_frozen_native_group_norm, 8),
        lambda x: aten.native_group_norm.default(x, None, None, x.shape[0], 3, 144, 1, 1e-5)[0],
        gives_maps=True,
    ),
    _norm(
        "instance_norm",
        _hold_scale(frozen_instance_norm, 9),
        F.instance_norm,
        gives_maps=True,
        kind=_instance_kind,
        origin=Origin.MIXTURES,
        adjoint=_OVER_MAPS,
    ),
    _norm(
        "rms_norm",
        _hold_scale(frozen_rms_norm, 4),
        _channels_last(lambda x: F.rms_norm(x, [3])),
        field=of_one_signal(_scaled),
    ),
    Operator(("_fused_rms_norm",), field=of_one_signal(_normalised)),
    Operator((frozen_layer_norm,), adjoint=_OVER_LAST),
)
