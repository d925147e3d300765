"""What torchvision, timm and transformers say that they do to a picture, beside their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

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
HF_TOLERANCE = 4 / 255
"""By how much a processor may differ from Pillow's resizing."""

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
    _refuse_name(weights, "the weights themselves, ResNet18_Weights.DEFAULT")
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


def timm_recipe(model_or_cfg: Any) -> ZooRecipe:
    """Return the steps of timm's evaluation transform; see `Preprocessing.from_timm`.

    Raises:
        BadInputError: A crop mode, or numbers of channels, that a `Preprocessing` cannot describe.
    """
    _refuse_name(model_or_cfg, "the model that timm.create_model makes of it")
    cfg = getattr(model_or_cfg, "pretrained_cfg", None) or getattr(model_or_cfg, "default_cfg", model_or_cfg)
    if not isinstance(cfg, Mapping):
        raise BadInputError(
            f"{type(model_or_cfg).__name__} is neither a model of timm nor its pretrained_cfg; {_INSTEAD}"
        )
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


def hf_recipe(processor: Any) -> ZooRecipe:
    """Return the steps of an image processor of transformers; see `Preprocessing.from_hf`.

    Raises:
        BadInputError: It says that it does something that a `Preprocessing` cannot describe.
    """
    _refuse_name(processor, "the processor that AutoImageProcessor.from_pretrained makes of it")
    resize, crop = _hf_sizes(processor)
    if not getattr(processor, "do_rescale", True) or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        factor = getattr(processor, "rescale_factor", None) if getattr(processor, "do_rescale", True) else 1
        raise _not_said(processor, f"scales values by {factor:.4g} instead of 1/255")
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if getattr(processor, "do_normalize", True):
        mean, std = tuple(map(float, processor.image_mean)), tuple(map(float, processor.image_std))
    return ZooRecipe(resize, crop, mean, std, _interpolation(getattr(processor, "resample", 2)))


def hf_difference(processor: Any, tensor_of: Callable[[Any], Any], std: tuple[float, ...]) -> float:
    """Return by how much a processor and a function differ on a picture, as a share of black to white.

    Args:
        processor: The processor.
        tensor_of: Gives the tensor (c, h, w) of a picture.
        std: What both have divided the channels by.
    """
    # waves that become shorter downwards: what resizes or crops otherwise, differs
    down, across = np.mgrid[0:300, 0:420] / 300
    waves = [np.sin(40 * down**2 + shift) * np.cos(9 * across + shift) for shift in range(3)]
    picture = Image.fromarray(np.uint8(127.5 + 100 * np.stack(waves, 2)))
    own = np.asarray(processor(picture, return_tensors="np")["pixel_values"][0], np.float64)
    ours = np.asarray(tensor_of(picture), np.float64)
    if own.shape != ours.shape:
        return 1.0
    return float(np.abs((own - ours) * np.reshape(std, (-1, 1, 1))).max())


def _hf_sizes(processor: Any) -> tuple[Resize, tuple[int, int]]:
    """Return the resize and the crop of a processor."""
    resize = _hf_resize(processor) if getattr(processor, "do_resize", False) else None
    kind, share = type(processor).__name__.lower(), getattr(processor, "crop_pct", None)
    if "convnext" in kind and isinstance(resize, int) and share:
        side = resize  # below 384 it is cut from a larger one, from 384 both sides are resized to it
        return (int(side / share) if side < 384 else (side, side)), (side, side)
    if isinstance(resize, int) and "levit" in kind:
        resize = int(256 / 224 * resize)
    if getattr(processor, "do_center_crop", None):
        sizes = _hf_size(processor.crop_size, "height"), _hf_size(processor.crop_size, "width")
        if None in sizes:
            raise _not_said(processor, f"crops to {processor.crop_size}")
        return resize, (int(sizes[0] or 0), int(sizes[1] or 0))
    if not isinstance(resize, tuple):
        raise _not_said(processor, "gives pictures of several sizes")
    return resize, resize


def _hf_resize(processor: Any) -> int | tuple[int, int]:
    size = processor.size
    height, width, short = (_hf_size(size, key) for key in ("height", "width", "shortest_edge"))
    if height and width:
        return height, width
    if short and not _hf_size(size, "longest_edge"):
        return short
    raise _not_said(processor, f"resizes to {size}")


def _hf_size(size: Any, key: str) -> int | None:
    found = size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)
    return None if found is None else int(found)


def _interpolation(resample: Any) -> str:
    """Return the name of one of Pillow's filters, given by its number or its name."""
    value = getattr(resample, "value", resample)
    return Image.Resampling(value).name.lower() if isinstance(value, int) else str(value)


def _refuse_name(given: Any, instead: str) -> None:
    if isinstance(given, str | Path):
        raise BadInputError(f"a preprocessing cannot be read from a name, got {str(given)!r}; give {instead}")


def _not_said(processor: Any, what: str) -> BadInputError:
    return BadInputError(f"{type(processor).__name__} {what}, which is not supported; {_INSTEAD}")
