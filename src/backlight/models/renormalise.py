"""Renormalisation of filters: none may be louder than a limit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backlight.errors import BadInputError

LIMIT = 0.1
"""The paper's largest root mean square of a filter."""
_ROUNDING = 1e-6


@torch.no_grad()
def renormalise_filters_(model: nn.Module, limit: float = LIMIT) -> dict[str, int]:
    """Scale every convolution's filter whose root mean square exceeds a limit down to it, in place.

    Call it after each step of the optimiser, so that no filter dominates.

    Args:
        model: The model; its convolutions of any rank are changed, transposed ones too.
        limit: The largest root mean square that a filter may have.

    Returns:
        By the name of each convolution's module, how many of its filters were changed.

    Raises:
        BadInputError: The limit is not above zero, or a convolution's weights are computed from others.

    *Convention*: a filter is what one output map reads: its mean runs over kernel and input maps, of one group where
    there are several. Biases stay. What exceeds the limit by a rounding error alone, as after an earlier call, stays.

    *Source*: Zeiler & Fergus (2013), section 3: "we renormalize each filter in the convolutional layers whose RMS value
    exceeds a fixed radius of 10^-1 to this fixed radius".

    Example:
        >>> conv = nn.Conv2d(3, 2, 5)
        >>> with torch.no_grad():
        ...     _ = conv.weight[0].fill_(0.4), conv.weight[1].fill_(0.05)
        >>> renormalise_filters_(nn.Sequential(conv)), round(conv.weight.max().item(), 6)
        ({'0': 1}, 0.1)
    """
    if not limit > 0:
        raise BadInputError(f"limit must be above 0, got {limit}")
    convolutions = [
        (name, own) for name, own in model.named_modules() if isinstance(own, nn.modules.conv._ConvNd)
    ]
    for name, own in convolutions:
        if not isinstance(own._parameters.get("weight"), Tensor):
            raise BadInputError(
                f"the weights of {name!r} are computed from others, as weight_norm does, and cannot be scaled; "
                "remove the parametrisation first"
            )
    return {name: _renormalise(own, limit) for name, own in convolutions}


def _renormalise(conv: nn.modules.conv._ConvNd, limit: float) -> int:
    """Scale a convolution's loud filters and return how many they are."""
    weight = conv.weight
    # (out, in / groups, ...); transposed it is (in, out / groups, ...), of which each group has its own inputs:
    # (groups, in / groups, out / groups, ...). Both are views of the weights.
    filters = weight.view(conv.groups, -1, *weight.shape[1:]) if conv.transposed else weight
    own = {0, 2} if conv.transposed else {0}
    rms = (
        filters.double().square().mean([d for d in range(filters.dim()) if d not in own], keepdim=True).sqrt()
    )
    loud = rms > limit * (1 + _ROUNDING)
    filters.mul_(torch.where(loud, limit / rms, 1.0).to(filters.dtype))  # what is not loud is multiplied by 1
    return int(loud.sum())
