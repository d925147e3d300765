"""Learning: filters and codes in turn, layer by layer.

*Source*: Zeiler, Taylor & Fergus (2011), section 2.3: in each epoch one step of every code (codes are kept from epoch
to epoch), then conjugate-gradient steps on the filters, which are then scaled to unit length.

*Differs*: codes start from zero, not from small noise (the random filters are noise enough); λ grows from epoch to
epoch (`Learning.first_share`); before the next layer is learned, codes are inferred again with the final filters, so
that it learns on the switches that inference will give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from backlight.adaptive.config import AdaptiveConfig, LayerConfig, Normalised
from backlight.adaptive.inference import LayerCode, Steps
from backlight.adaptive.operators import Reconstruction, filter_gradient
from backlight.adaptive.pooling import Block, MapBatch, Unpooling, pool

_MARGIN = 1.1

NormalProduct = Callable[[Tensor], Tensor]


def start_filters(config: AdaptiveConfig, layer: int, generator: torch.Generator) -> Tensor:
    """Return random filters of unit length for a layer, from 1."""
    own = config.layers[layer - 1]
    noise = torch.randn(own.maps, config.inputs(layer), own.filter, own.filter, generator=generator)
    return of_unit_length(noise, config.unit)


def of_unit_length(filters: Tensor, unit: Normalised) -> Tensor:
    """Return filters (k, c, side, side) scaled to unit length, as a whole or each plane; zeros stay zero."""
    # a filter is c planes of side x side
    axes = (1, 2, 3) if unit == "filter" else (2, 3)
    lengths = filters.square().sum(axes, keepdim=True).sqrt()
    return filters / torch.where(lengths > 0, lengths, torch.ones_like(lengths))


def with_margin(squared_norm: float) -> float:
    """Return a little more than ‖R‖² of a sample, and 1 if that is 0.

    Other images have other switches, and power iteration underestimates.
    """
    return _MARGIN * squared_norm if squared_norm > 0 else 1.0


def steps_of(layer: LayerConfig, squared_norm: float) -> Steps:
    """Return how codes move: by β where it is given, otherwise by 1 / (λ‖R‖²).

    Without pooling that is safe: the cost never rises. With pooling ‖R‖ is taken over codes with one value in a block,
    which is not proof, since the difference of two such codes has two; but costs still fell with 0.7 of that ‖R‖².
    """
    if layer.step is not None:
        return Steps(layer.weight * layer.step, layer.step, layer.block)
    return Steps(1 / squared_norm, 1 / (layer.weight * squared_norm), layer.block)


def growing_weight(first: float, last: float, epoch: int, epochs: int) -> float:
    """Return λ of an epoch, from 0: it grows by equal factors from the first to the last, and never exceeds the last.

    Example:
        >>> [growing_weight(1.0, 4.0, epoch, 3) for epoch in range(3)]
        [1.0, 2.0, 4.0]
    """
    if epochs == 1 or first >= last:
        return last
    # The exponent falls from 1 in the first epoch to 0 in the last, where the result is `last` exactly.
    return float(last * (first / last) ** (1 - epoch / (epochs - 1)))


def sparse_weight(images: MapBatch, whole: Reconstruction, block: Block, share: float) -> float:
    """Return the λ for which a share of the blocks holds a value after one step: 1 over a quantile of |R'y|.

    The threshold is halfway between two values, so that rounding does not decide which of them remain.
    """
    # The first step moves z = 0 by λβ R'y and shrinks it by β: what is above 1/λ in R'y stays.
    # Blocks of all images compete, so that an image of little contrast may keep none.
    pooled, _ = pool(whole.adjoint(images), block)
    sizes = pooled.abs().flatten().sort(descending=True).values
    # sizes[count - 1] is the smallest that stays and sizes[count] the largest that goes
    count = min(max(int(share * len(sizes)), 1), len(sizes) - 1)
    least = float(sizes[count - 1 : count + 1].mean())
    return 1 / least if least > 0 else inf


def conjugate_gradient(product: NormalProduct, start: Tensor, residual: Tensor, n_steps: int) -> Tensor:
    """Return f after n_steps conjugate-gradient steps towards A f = b, A symmetric and positive semidefinite.

    Args:
        product: Multiplies by A.
        start: Initial f.
        residual: b - A f there.
        n_steps: Largest number of steps; fewer if it is solved sooner.
    """
    solution, direction = start, residual
    energy = residual.square().sum()
    first = energy
    # solution, residual and direction are all shaped like f; here filters (k, c, side, side)
    for _ in range(n_steps):
        if not energy > torch.finfo(energy.dtype).eps ** 2 * first:
            break  # solved, up to rounding
        image = product(direction)
        curvature = (direction * image).sum()
        if not curvature > 0:
            break  # no code uses this direction, so the error does not depend on it
        length = energy / curvature  # where the error is least along the direction
        solution = solution + length * direction
        residual = residual - length * image
        last, energy = energy, residual.square().sum()
        # conjugate to all directions before: ⟨direction, A direction'⟩ = 0
        direction = residual + energy / last * direction
    return solution


@dataclass(frozen=True, eq=False)
class CodedBatch:
    """Some images of a training set with their codes.

    Attributes:
        images: (n, c, h, w).
        below: The unpooling of each lower layer.
        code: The code of the layer being learned.
    """

    images: MapBatch
    below: tuple[Unpooling, ...]
    code: LayerCode


CodedBatches = Callable[[], Iterator[CodedBatch]]
"""Iterates over a training set, a batch at a time, always in the same order."""


def normal_product(parts: CodedBatches, filters: Sequence[Tensor]) -> NormalProduct:
    """Return the product by A = Σ Z'B'BZ over all images: from filters to what the codes paint, and back to filters.

    Args:
        parts: The images, with codes.
        filters: Of layer 1 up to the one being learned.
    """
    side = filters[-1].shape[2]

    def product(direction: Tensor) -> Tensor:
        total = torch.zeros_like(direction)
        for part in parts():
            whole = Reconstruction((*filters[:-1], direction), part.below)
            z = part.code.maps  # (n, k, h, w)
            # R is linear in the last filters too, so that with the direction in their place R z is B Z times it:
            # (n, c, h, w) in pixels. B' brings it back to the maps below, Z' to filters.
            total += filter_gradient(whole.ascend(whole(z)), z, side)
        return total

    return product


@dataclass(frozen=True)
class EpochMeasure:
    """How well a layer reconstructs the training set after an epoch.

    Attributes:
        layer: From 1.
        epoch: From 1.
        error: ‖R z - y‖ / ‖y‖ over all images, before the update of the filters.
        active_share: Share of the feature maps' values that are not zero.
    """

    layer: int
    epoch: int
    error: float
    active_share: float


@dataclass(frozen=True)
class LayerMeasure:
    """How well a learned layer reconstructs the training set, from codes as `infer` gives them.

    The last epoch's measure is another number: filters change after it, and its codes have moved a step for each epoch,
    while λ and the filters changed.

    Attributes:
        layer: From 1.
        error: ‖R z - y‖ / ‖y‖ over all images, of refitted values.
        shrunk_error: The same of the values before they are refitted.
        active_share: Share of the feature maps' values that are not zero.
    """

    layer: int
    error: float
    shrunk_error: float
    active_share: float
