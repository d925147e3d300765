"""Small networks and the codes of images, for the tests of their pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from backlight.adaptive import AdaptiveConfig, AdaptiveDeconvNet, Block, Codes, LayerConfig

THREE = AdaptiveConfig(
    tuple(LayerConfig(maps, filter=3, block=Block(2, 2, 1), weight=20.0) for maps in (4, 5, 3)), size=(24, 24)
)

SILENT = AdaptiveConfig(
    (LayerConfig(4, filter=3, block=Block(2, 2, 1), weight=20.0), LayerConfig(3, filter=3, weight=1e-9)),
    size=(24, 24),
)


def coded(config: AdaptiveConfig = THREE, count: int = 2) -> tuple[AdaptiveDeconvNet, Tensor, Codes]:
    net = AdaptiveDeconvNet(config, seed=2)
    images = torch.randn(count, 1, *config.size, generator=torch.Generator().manual_seed(0))
    return net, images, net.infer(images)
