"""The networks that are compared, with random weights that depend on nothing but their names."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module

import torch
from torch import nn

from same_numbers.small_nets import SMALL_NETS

Size = tuple[int, int, int]

_TORCHVISION = (
    *(
        "alexnet",
        "vgg11_bn",
        "resnet18",
        "resnet50",
        "squeezenet1_1",
        "densenet121",
        "googlenet",
        "mobilenet_v2",
    ),
    *("mobilenet_v3_small", "mnasnet0_5", "efficientnet_b0", "shufflenet_v2_x0_5", "regnet_y_400mf"),
    *("convnext_tiny", "vit_b_32", "swin_t", "inception_v3"),
)
_TIMM = (
    *("resnet26d", "convnext_atto", "mobilevit_xxs", "pvt_v2_b0", "poolformer_s12", "dla34", "eca_nfnet_l0"),
    *(
        "ghostnet_050",
        "edgenext_xx_small",
        "tf_efficientnet_lite0",
        "repvgg_a0",
        "skresnet18",
        "hrnet_w18_small",
    ),
    *("focalnet_tiny_srf", "fastvit_t8", "inception_next_atto", "efficientvit_b0", "xcit_nano_12_p16_224"),
)
_TIMM_OF_A_SIZE = {"resmlp_12_224": 64, "levit_128s": 96, "coatnet_nano_rw_224": 64, "swinv2_cr_tiny_224": 64}
_OPTIONS: dict[str, dict[str, object]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    "vit_b_32": {"image_size": 64},
}


def networks() -> dict[str, Callable[[], tuple[nn.Module, Size]]]:
    """Return what makes each network and says the size (c, h, w) of its inputs, by name."""
    found: dict[str, Callable[[], tuple[nn.Module, Size]]] = {}
    for name in SMALL_NETS:
        found[f"small/{name}"] = partial(_made, name, SMALL_NETS[name], 32)
    for name in _TORCHVISION:
        size = 96 if name == "inception_v3" else 64
        found[f"torchvision/{name}"] = partial(_made, name, partial(_torchvision, name), size)
    for name in _TIMM:
        found[f"timm/{name}"] = partial(_made, name, partial(_timm, name), 64)
    for name, size in _TIMM_OF_A_SIZE.items():
        found[f"timm/{name}"] = partial(_made, name, partial(_timm, name, img_size=size), size)
    found["backlight/zfnet"] = partial(_made, "zfnet", partial(_own, "zfnet"), 224)
    found["backlight/alexnet_lrn"] = partial(_made, "alexnet_lrn", partial(_own, "alexnet_lrn"), 227)
    found["backlight/demo"] = _demo
    return found


def seed_of(name: str) -> int:
    """Return a seed that is another for every name, and the same in every process."""
    return zlib.crc32(name.encode())


def _made(name: str, make: Callable[[], nn.Module], size: int) -> tuple[nn.Module, Size]:
    torch.manual_seed(seed_of(name))
    model = make().eval()
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    with torch.no_grad():
        model(
            torch.zeros(1, 3, size, size, dtype=dtype)
        )  # lazy modules take their sizes from the first input
        _randomise(model)
    return model, (3, size, size)


def _randomise(model: nn.Module) -> None:
    """Give every norm a scale, an offset and statistics of its own: 1 and 0 would hide what is done to them."""
    for module in model.modules():
        for own, low, high in (("weight", 0.5, 1.5), ("bias", -0.2, 0.2)):
            value = getattr(module, own, None)
            if "norm" in type(module).__name__.lower() and isinstance(value, nn.Parameter):
                value.uniform_(low, high)
        if isinstance(getattr(module, "running_var", None), torch.Tensor):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)


def _torchvision(name: str) -> nn.Module:
    return import_module("torchvision").models.get_model(name, weights=None, **_OPTIONS.get(name, {}))


def _timm(name: str, **options: object) -> nn.Module:
    return import_module("timm").create_model(name, num_classes=20, **options)


def _own(name: str) -> nn.Module:
    for place in ("backlight.models.zfnet", "backlight.network.zfnet"):
        try:
            return getattr(import_module(place), name)(20)
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(f"no module of backlight has {name}")


def _demo() -> tuple[nn.Module, Size]:
    return import_module("backlight_demo").model(), (3, 227, 227)
