"""The size of a model's input, where the model or its preprocessing says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from backlight.errors import BadInputError, CaptureWarning, tell
from backlight.images import Preprocessing


def input_of(
    model: nn.Module, preprocessing: Preprocessing | None
) -> tuple[tuple[int, int, int], Preprocessing | None]:
    """Return the size (c, h, w) of a model's input, and how pictures become inputs, where it is known.

    The size is that of the preprocessing, if one is given. Else it is what the model itself says: timm's
    `pretrained_cfg`, which gives the preprocessing too, or `config.image_size` of transformers.

    Raises:
        BadInputError: Nothing says it.

    Warns:
        CaptureWarning: The preprocessing is taken from the model.
    """
    if preprocessing is not None:
        return (preprocessing.channels, *preprocessing.crop), preprocessing
    cfg = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if isinstance(cfg, Mapping) and cfg.get("input_size"):
        return _of_timm(model, cfg)
    config = getattr(model, "config", None)
    size = size_said(config)
    if size is not None:
        return (int(getattr(config, "num_channels", None) or 3), *size), None
    raise BadInputError(
        f"{type(model).__name__} does not say the size of its input; give it, capture(model, (3, 224, 224)), or an "
        "input, or a preprocessing, as Preprocessing.imagenet() is one"
    )


def _of_timm(model: nn.Module, cfg: Mapping[str, Any]) -> tuple[tuple[int, int, int], Preprocessing | None]:
    channels, height, width = cfg["input_size"]
    first = next((own for own in model.modules() if isinstance(own, nn.Conv2d)), None)
    own = channels if first is None else first.in_channels
    if own != channels:  # made with in_chans, which its configuration does not say
        return (own, height, width), None
    try:
        preprocessing = Preprocessing.from_timm(cfg)
    except BadInputError:
        return (channels, height, width), None
    tell(
        CaptureWarning(
            f"{type(model).__name__}: inputs of {channels}x{height}x{width} and their preprocessing are as its "
            "pretrained_cfg says; other ones can be given to capture"
        )
    )
    return (channels, height, width), preprocessing


def size_said(config: Any) -> tuple[int, int] | None:
    """Return the size (h, w) of images that a configuration of transformers says; None where it says none."""
    side = getattr(config, "image_size", None)
    sides = (side, side) if isinstance(side, int) else tuple(side) if isinstance(side, list | tuple) else ()
    is_size = len(sides) == 2 and all(isinstance(own, int) and own > 0 for own in sides)
    return (sides[0], sides[1]) if is_size else None
