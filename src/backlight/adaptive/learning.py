"""Learning: filters and codes in turn, layer by layer.

*Source*: Zeiler, Taylor & Fergus (2011), section 2.3: in each epoch one step of every code, which are kept from epoch
to epoch, then conjugate-gradient steps on the filters, which then are made of unit length.

*Differs*: codes start from zero, not from small noise (the filters are random, which is noise enough); λ grows from
epoch to epoch (`Learning.first_share`); before the next layer is learned, codes are inferred anew by the final filters,
so that it learns on the switches that inference gives.
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
    """Return filters (k, c, side, side) scaled to unit length, as a whole or each plane; zeros stay."""
    axes = (1, 2, 3) if unit == "filter" else (2, 3)
    lengths = filters.square().sum(axes, keepdim=True).sqrt()
    return filters / torch.where(lengths > 0, lengths, torch.ones_like(lengths))


def with_margin(squared_norm: float) -> float:
    """Return a little more than ‖R‖² of a sample, and 1 where that is 0.

    Other images have other switches, and power iteration finds too little.
    """
    return _MARGIN * squared_norm if squared_norm > 0 else 1.0


def steps_of(layer: LayerConfig, squared_norm: float) -> Steps:
    """Return how codes move: by β where it is given, else by 1 / (λ‖R‖²).

    Without pooling that is safe: the cost never rises. With pooling ‖R‖ is that over codes with one value in a block,
    which is no proof, since the difference of two such codes has two; but costs were seen to fall at 0.7 of it too.
    """
    if layer.step is not None:
        return Steps(layer.weight * layer.step, layer.step, layer.block)
    return Steps(1 / squared_norm, 1 / (layer.weight * squared_norm), layer.block)


def growing_weight(first: float, last: float, epoch: int, epochs: int) -> float:
    """Return λ of an epoch, from 0: by equal factors from the first to the last; never above the last.

    Example:
        >>> [growing_weight(1.0, 4.0, epoch, 3) for epoch in range(3)]
        [1.0, 2.0, 4.0]
    """
    if epochs == 1 or first >= last:
        return last
    return float(last * (first / last) ** (1 - epoch / (epochs - 1)))


def sparse_weight(images: MapBatch, whole: Reconstruction, block: Block, share: float) -> float:
    """Return the λ by which a share of the blocks holds a value after one step: 1 over a quantile of |R'y|.

    It lies halfway between two values, so that rounding does not decide which of them are left.
    """
    pooled, _ = pool(whole.adjoint(images), block)
    sizes = pooled.abs().flatten().sort(descending=True).values
    count = min(max(int(share * len(sizes)), 1), len(sizes) - 1)
    least = float(sizes[count - 1 : count + 1].mean())
    return 1 / least if least > 0 else inf


def conjugate_gradient(product: NormalProduct, start: Tensor, residual: Tensor, n_steps: int) -> Tensor:
    """Return where so many conjugate-gradient steps lead towards A f = b, A symmetric and not negative.

    Args:
        product: Multiplies by A.
        start: Where f begins.
        residual: b - A f there.
        n_steps: At most so many; fewer where it is solved.
    """
    solution, direction = start, residual
    energy = residual.square().sum()
    first = energy
    for _ in range(n_steps):
        if not energy > torch.finfo(energy.dtype).eps ** 2 * first:
            break
        image = product(direction)
        curvature = (direction * image).sum()
        if not curvature > 0:
            break
        length = energy / curvature
        solution = solution + length * direction
        residual = residual - length * image
        last, energy = energy, residual.square().sum()
        direction = residual + energy / last * direction
    return solution


@dataclass(frozen=True, eq=False)
class CodedBatch:
    """Some images of a training set, and what is known of them.

    Attributes:
        images: (n, c, h, w).
        below: The unpooling of each lower layer.
        code: Of the layer that is learned.
    """

    images: MapBatch
    below: tuple[Unpooling, ...]
    code: LayerCode


CodedBatches = Callable[[], Iterator[CodedBatch]]
"""Goes through a training set, a batch at a time, always in the same order."""


def normal_product(parts: CodedBatches, filters: Sequence[Tensor]) -> NormalProduct:
    """Return the product by Σ Z'B'BZ over all images: filters to codes' painting in pixels, and back to filters.

    Args:
        parts: The images, with codes.
        filters: Of layer 1 up to the one that is learned.
    """
    side = filters[-1].shape[2]

    def product(direction: Tensor) -> Tensor:
        total = torch.zeros_like(direction)
        for part in parts():
            whole = Reconstruction((*filters[:-1], direction), part.below)
            z = part.code.maps
            total += filter_gradient(whole.ascend(whole(z)), z, side)
        return total

    return product


@dataclass(frozen=True)
class EpochMeasure:
    """How far the learning of a layer is after an epoch.

    Attributes:
        layer: From 1.
        epoch: From 1.
        error: ‖R z - y‖ / ‖y‖ over all images, before the update of the filters.
        active_share: Of the values of the feature maps, how many are not zero.
    """

    layer: int
    epoch: int
    error: float
    active_share: float
