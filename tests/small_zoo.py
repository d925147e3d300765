"""Small members of torchvision's families: the zoo's own blocks, so few of them that a capture takes a moment."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import nn
from torchvision import models
from torchvision.models.googlenet import BasicConv2d, Inception

from backlight import Network, capture


def small_convnext() -> nn.Module:
    blocks = models.convnext.CNBlockConfig
    return models.ConvNeXt([blocks(16, 32, 1), blocks(32, 64, 1), blocks(64, None, 1)])


def small_efficientnet() -> nn.Module:
    blocks = models.efficientnet.MBConvConfig
    settings = [blocks(1, 3, 1, 32, 16, 1, 1, 1), blocks(6, 5, 2, 16, 24, 1, 1, 1)]
    return models.EfficientNet(settings, dropout=0.0)


def small_mobilenet_v3() -> nn.Module:
    blocks = models.mobilenetv3.InvertedResidualConfig
    settings = [blocks(16, 3, 16, 16, True, "RE", 2, 1, 1), blocks(16, 5, 32, 24, True, "HS", 2, 1, 1)]
    return models.MobileNetV3(settings, 64)


def small_inception() -> nn.Module:
    return nn.Sequential(
        BasicConv2d(3, 8, kernel_size=7, stride=2, padding=3),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Inception(8, 8, 6, 8, 4, 6, 6),
        Inception(28, 8, 6, 8, 4, 6, 6),
    )


def small_regnet() -> nn.Module:
    return models.RegNet(models.regnet.BlockParams.from_init_params(4, 16, 18.0, 2.5, 8, se_ratio=0.25))


def small_swin() -> nn.Module:
    """Return a network whose attention has windows of its own in the place of images."""
    return models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4])


SMALL_ZOO: dict[str, Callable[[], nn.Module]] = {
    "resnet": partial(models.ResNet, models.resnet.BasicBlock, [1, 2, 1, 1]),
    "densenet": partial(models.DenseNet, 8, (2, 2, 2), 16),
    "mobilenet_v2": partial(models.MobileNetV2, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]),
    "mobilenet_v3": small_mobilenet_v3,
    "efficientnet": small_efficientnet,
    "convnext": small_convnext,
    "shufflenet": partial(models.ShuffleNetV2, [2, 2, 2], [8, 16, 32, 64, 64]),
    "regnet": small_regnet,
    "inception": small_inception,
}


@cache
def captured_squeezenet() -> Network:
    """Return SqueezeNet with random weights, captured for 3x64x64; shared between tests, so not to be changed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return capture(models.squeezenet1_0(), (3, 64, 64))
