"""Networks of other people's zoos, which the coverage benchmark measures if the zoo is installed.

`pip install transformers monai segmentation-models-pytorch pytorchcv kornia` installs them; all weights are random and
nothing is downloaded. A zoo that is not installed is skipped, and reported as such.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

Made = tuple[nn.Module, tuple[int, int, int]]
"""A network, and the size (c, h, w) of its input."""

_CLASSES = 5
_ARCHITECTURES = """
Unet UnetPlusPlus MAnet Linknet FPN PSPNet PAN DeepLabV3 DeepLabV3Plus UPerNet Segformer DPT
"""
_ENCODERS = """
resnext50_32x4d timm-res2net50_26w_4s timm-resnest14d se_resnet50 timm-regnetx_002 densenet121
vgg11_bn inceptionv4 inceptionresnetv2 xception mobilenet_v2 timm-mobilenetv3_small_100
efficientnet-b0 dpn68 mit_b0 mobileone_s0 timm-skresnet18 timm-gernet_s tu-convnext_atto
"""
_PYTORCHCV = """
alexnet zfnet vgg11 bn_vgg11 bninception resnet10 preresnet10 resnext14_16x4d seresnet10
sepreresnet10 seresnext50_32x4d senet16 resnestabc14 ibn_resnet50 ibnb_resnet50 airnet50_1x64d_r2
bam_resnet18 cbam_resnet18 scnet50 regnetx002 regnety002 diaresnet10 pyramidnet101_a360 diracnet18v2
densenet121 condensenet74_c4_g4 sparsenet121 peleenet wrn50_2 drnc26 drnd22 dpn68 darknet_tiny
darknet53 irevnet301 bagnet9 dla34 fishnet99 espnetv2_wd2 dicenet_wd5 hrnet_w18_small_v1 vovnet27s
selecsls42 hardnet39ds xdensenet121_2 squeezenet_v1_0 squeezeresnet_v1_0 sqnxt23_w1
shufflenet_g1_wd4 shufflenetv2_wd2 shufflenetv2b_wd2 menet108_8x1_g3 mobilenet_wd4 mobilenetb_wd4
fdmobilenet_wd4 mobilenetv2_wd4 mobilenetv2b_wd4 mobilenetv3_small_w7d20 igcv3_wd4 ghostnet
mnasnet_small darts proxylessnas_cpu fbnet_cb xception inceptionv3 inceptionv4 inceptionresnetv1
inceptionresnetv2 polynet nasnet_4a1056 pnasnet5large spnasnet efficientnet_b0
efficientnet_edge_small_b mixnet_s resneta10 resnetd50b fastseresnet101b octresnet10_ad2
dabnet_cityscapes fastscnn_cityscapes bisenet_resnet18_celebamaskhq icnet_resnetd50b_cityscapes
lednet_cityscapes esnet_cityscapes erfnet_cityscapes enet_cityscapes unet_cityscapes
sinet_cityscapes
"""


def networks(zoo: str) -> dict[str, Callable[[], Made]]:
    """Return a function that makes each network of a zoo, by name; empty if the zoo is not installed."""
    if importlib.util.find_spec(PACKAGES[zoo]) is None:
        return {}
    return dict(_ZOOS[zoo]())


def _transformers() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield every image classifier and some of the dense networks of transformers, made small."""
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    for kinds in ("IMAGE_CLASSIFICATION", "SEMANTIC_SEGMENTATION", "DEPTH_ESTIMATION", "BACKBONE"):
        mapping = getattr(auto, f"MODEL_FOR_{kinds}_MAPPING", None) or getattr(
            auto, f"MODEL_{kinds}_MAPPING", {}
        )
        for config, model in dict(mapping).items():
            for kind in model if isinstance(model, tuple) else (model,):
                yield kind.__name__, _small(config, kind)


def _small(config: Any, kind: Any) -> Callable[[], Made]:
    def make() -> Made:
        settings = config()
        for name in ("num_hidden_layers", "num_layers"):
            if isinstance(getattr(settings, name, None), int):
                setattr(settings, name, 2)
        if isinstance(getattr(settings, "depths", None), (list, tuple)):
            settings.depths = type(settings.depths)([1] * len(settings.depths))
        settings.num_labels = _CLASSES
        side = getattr(settings, "image_size", None) or 224
        side = side if isinstance(side, int) else max(side)
        channels = getattr(settings, "num_channels", 3)
        return kind(settings), (
            channels,
            min(side, 224) if side > 512 else side,
            min(side, 224) if side > 512 else side,
        )

    return make


def _monai() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield the two-dimensional networks of MONAI."""
    nets = importlib.import_module("monai.networks.nets")
    flat = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
    shapes = {"channels": (4, 8, 16), "strides": (2, 2)}
    kernels = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    small = (1, 64, 64)
    table: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
        "UNet": (flat | shapes | {"num_res_units": 1}, small),
        "BasicUNet": (flat, small),
        "BasicUNetPlusPlus": (flat, small),
        "AttentionUnet": (flat | shapes, small),
        "DynUNet": (flat | kernels, small),
        "SegResNet": (flat | {"init_filters": 8}, small),
        "SegResNetDS": (flat | {"init_filters": 8}, small),
        "VNet": (flat, small),
        "HighResNet": (flat, small),
        "DenseNet121": (flat, small),
        "FlexibleUNet": (
            {
                "in_channels": 3,
                "out_channels": 2,
                "backbone": "efficientnet-b0",
                "pretrained": False,
                "spatial_dims": 2,
            },
            (3, 64, 64),
        ),
        "SwinUNETR": (flat | {"feature_size": 12}, small),
        "UNETR": (
            flat | {"img_size": 64, "feature_size": 8, "hidden_size": 48, "mlp_dim": 96, "num_heads": 4},
            small,
        ),
        "ViT": (
            {"in_channels": 1, "img_size": 64, "patch_size": 16, "spatial_dims": 2, "num_layers": 2},
            small,
        ),
        "AutoEncoder": (flat | shapes | {"strides": (2, 2, 2)}, small),
        "VarAutoEncoder": (
            {"spatial_dims": 2, "in_shape": small, "out_channels": 1, "latent_size": 4}
            | {"channels": (4, 8), "strides": (2, 2)},
            small,
        ),
        "MedNeXt": (flat | {"init_filters": 8}, small),
        "AHNet": ({"spatial_dims": 2, "psp_block_num": 0, "upsample_mode": "transpose"}, small),
        "Classifier": ({"in_shape": small, "classes": 2, "channels": (4, 8), "strides": (2, 2)}, small),
        "Discriminator": ({"in_shape": small, "channels": (4, 8), "strides": (2, 2)}, small),
        "HoVerNet": ({}, (3, 256, 256)),
        "Quicknat": ({"num_classes": 2, "num_channels": 1, "num_filters": 8}, small),
        "RegUNet": (flat | {"num_channel_initial": 4, "depth": 2}, small),
        "GlobalNet": (
            {
                "image_size": [64, 64],
                "spatial_dims": 2,
                "in_channels": 1,
                "num_channel_initial": 4,
                "depth": 2,
            },
            small,
        ),
        "SEResNet50": ({"spatial_dims": 2, "in_channels": 3, "num_classes": 2}, (3, 64, 64)),
        "DiffusionModelUNet": ({}, small),
    }
    for depth in (10, 18, 50):
        table[f"resnet{depth}"] = ({"spatial_dims": 2, "n_input_channels": 1, "num_classes": 2}, small)
        table[f"resnet{depth} type A"] = (
            {"spatial_dims": 2, "n_input_channels": 1, "num_classes": 2, "shortcut_type": "A"},
            small,
        )
    for name, (options, size) in table.items():
        made = getattr(nets, name.partition(" ")[0], None)
        if made is not None and name != "DiffusionModelUNet":  # it takes a time step besides the image
            yield name, _fixed(made, options, size)


def _fixed(kind: Any, options: dict[str, Any], size: tuple[int, int, int]) -> Callable[[], Made]:
    return lambda: (kind(**options), size)


def _segmentation_models() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield every architecture with one encoder, and one architecture with an encoder of every family."""
    smp = importlib.import_module("segmentation_models_pytorch")
    names = _ARCHITECTURES.split()
    for name in names:
        if hasattr(smp, name):
            options = {"encoder_weights": None} | ({} if name == "DPT" else {"encoder_name": "resnet18"})
            yield name, _fixed(getattr(smp, name), options, (3, 224, 224) if name == "DPT" else (3, 128, 128))
    encoders = _ENCODERS.split()
    for encoder in encoders:
        architecture = "FPN" if encoder == "mit_b0" or "convnext" in encoder else "Unet"
        options = {"encoder_name": encoder, "encoder_weights": None}
        yield f"{architecture} {encoder}", _fixed(getattr(smp, architecture), options, (3, 128, 128))


def _pytorchcv() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield one network of each family of pytorchcv."""
    provider = importlib.import_module("pytorchcv.model_provider")
    sides = {
        "inceptionv3": 299,
        "inceptionv4": 299,
        "inceptionresnetv1": 299,
        "inceptionresnetv2": 299,
        "xception": 299,
    }
    small = (3, 32, 32)
    own = {
        "nin_cifar10": small,
        "resnet20_cifar10": small,
        "diaresnet20_cifar10": small,
        "wrn16_10_cifar10": small,
    }
    own |= {
        "pyramidnet110_a48_cifar10": small,
        "densenet40_k12_cifar10": small,
        "xdensenet40_2_k24_bc_cifar10": small,
    }
    own |= {"rir_cifar10": small, "shakeshakeresnet20_2x16d_cifar10": small, "ror3_56_cifar10": small}
    own |= {"hardnet39ds": (3, 224, 224), "alexnet": (3, 224, 224)}
    names = _PYTORCHCV.split()
    for name in (*names, *own):
        side = sides.get(name.partition("_")[0], 224)
        yield name, _from_provider(provider, name, own.get(name, (3, side, side)))


def _from_provider(provider: Any, name: str, size: tuple[int, int, int]) -> Callable[[], Made]:
    return lambda: (provider.get_model(name, pretrained=False), size)


def _kornia() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield the trainable networks of kornia that take one image."""
    features = importlib.import_module("kornia.feature")
    patch = (1, 32, 32)
    for name in ("HardNet", "HardNet8", "HyNet", "TFeat", "SOSNet"):
        if hasattr(features, name):
            yield name, _fixed(getattr(features, name), {"pretrained": False}, patch)
    places = {
        "DexiNed": ("kornia.filters.dexined", {"pretrained": False}, (3, 64, 64)),
        "KeyNet": ("kornia.feature.keynet", {"pretrained": False}, (1, 64, 64)),
        "VisionTransformer": ("kornia.contrib.vit", {"image_size": 64, "depth": 2}, (3, 64, 64)),
        "MobileViT": ("kornia.contrib.vit_mobile", {}, (3, 256, 256)),
        "TinyViT": ("kornia.contrib.models.tiny_vit", {"img_size": 224, "num_classes": 5}, (3, 224, 224)),
    }
    for name, (place, options, size) in places.items():
        try:
            kind = getattr(importlib.import_module(place), name)
        except (ImportError, AttributeError):
            continue
        yield name, _fixed(kind, options, size)


_ZOOS = {
    "transformers": _transformers,
    "monai": _monai,
    "segmentation_models": _segmentation_models,
    "pytorchcv": _pytorchcv,
    "kornia": _kornia,
}
PACKAGES = {name: name for name in _ZOOS} | {"segmentation_models": "segmentation_models_pytorch"}
"""Zoos, and the package of each."""
