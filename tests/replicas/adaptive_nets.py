"""Small networks of float64 filters, with random codes and switches, for the tests of adaptive networks."""

from __future__ import annotations

import torch
from torch import Tensor

from backlight.adaptive.config import AdaptiveConfig, LayerConfig
from backlight.adaptive.inference import Codes, LayerCode
from backlight.adaptive.operators import Reconstruction
from backlight.adaptive.pooling import Block, pool

DEEP = AdaptiveConfig(
    (
        LayerConfig(4, filter=3, block=Block(2, 3, 2)),
        LayerConfig(5, filter=2, block=Block(2, 2, 2)),
        LayerConfig(3, filter=3, block=Block(2, 2, 3)),
    ),
    size=(11, 10),
    contrast=None,
)
"""Three layers whose blocks are cut somewhere and are not square."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_filters(config: AdaptiveConfig, seed: int = 0) -> tuple[Tensor, ...]:
    return tuple(
        noise(own.maps, config.inputs(i), own.filter, own.filter, seed=seed + i)
        for i, own in enumerate(config.layers, start=1)
    )


def random_codes(config: AdaptiveConfig, n: int = 1, seed: int = 0) -> Codes:
    """Return codes of random values at random switches in every layer."""
    codes = []
    for layer, shape in enumerate(config.shapes()):
        block = config.layers[layer].block
        codes.append(LayerCode(*pool(noise(n, *shape, seed=seed + layer), block), block, shape))
    return Codes(tuple(codes))


def whole(config: AdaptiveConfig, layer: int, codes: Codes, filters: tuple[Tensor, ...]) -> Reconstruction:
    return Reconstruction(filters[:layer], codes.below(layer))
