"""What torchvision and timm say that they do to a picture, read from what they publish beside their weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import floor
from typing import Any, NamedTuple

from backlight.errors import BadInputError
from backlight.images.framing import Resize

_TIMM_DEFAULTS: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "crop_pct": 0.875,
    "crop_mode": "center",
    "interpolation": "bicubic",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
_INSTEAD = "describe the steps as a Preprocessing(resize, crop, mean, std)"


class ZooRecipe(NamedTuple):
    """The fields of a `Preprocessing`, in their order, but for the range."""

    resize: Resize
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


def torchvision_recipe(weights: Any) -> ZooRecipe:
    """Return the steps of torchvision's preset; see `Preprocessing.from_torchvision`.

    Raises:
        BadInputError: It is not the preset for image classification.
    """
    preset = getattr(weights, "transforms", weights)
    preset = preset() if isinstance(preset, partial) else preset
    try:
        (crop,), (resize,) = preset.crop_size, preset.resize_size
        mean, std, interpolation = preset.mean, preset.std, preset.interpolation
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInputError(
            f"{type(preset).__name__} is not torchvision's ImageClassification preset; {_INSTEAD}"
        ) from error
    return ZooRecipe(resize, (crop, crop), tuple(mean), tuple(std), interpolation.value)


def timm_recipe(cfg: Mapping[str, Any]) -> ZooRecipe:
    """Return the steps of timm's evaluation transform; see `Preprocessing.from_timm`.

    Raises:
        BadInputError: A crop mode, or numbers of channels, that a `Preprocessing` cannot describe.
    """
    given = {**_TIMM_DEFAULTS, **{key: value for key, value in cfg.items() if value}}
    channels, height, width = given["input_size"]
    mode, share = given["crop_mode"], given["crop_pct"]
    scaled = floor(height / share), floor(width / share)
    if mode == "squash":
        # torchvision reads a pair as the exact size even where both sides agree
        resize: Resize = scaled
    elif mode == "center" and height == width:
        resize = scaled[0]
    else:
        raise BadInputError(
            f"timm's crop mode {mode!r} at {height} x {width} is not supported ('squash', or 'center' of "
            f"a square, is); {_INSTEAD}"
        )
    mean, std = tuple(given["mean"]), tuple(given["std"])
    if not len(mean) == len(std) == channels:
        raise BadInputError(
            f"timm's input size {tuple(given['input_size'])} asks for {channels} channels, "
            f"mean has {len(mean)} and std {len(std)}; give one number for each channel"
        )
    return ZooRecipe(resize, (height, width), mean, std, given["interpolation"])
