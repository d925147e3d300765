"""How a photograph is preprocessed for the network."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Preprocessing(TypedDict):
    """Resize, crop at the centre, scale to 0..1, subtract `mean` and divide by `std`, as plain data.

    Attributes:
        resize: Length of the short side after the resize, or None for no resize.
        crop: Size of the crop at the centre, (h, w).
        mean: Mean of red, green and blue, where white is 1.
        std: Standard deviation of red, green and blue, where white is 1.
        interpolation: How the resize interpolates.
    """

    resize: int | None
    crop: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


PREPROCESSING: Preprocessing = {
    "resize": 256,
    "crop": (227, 227),
    "mean": (122.782 / 255, 117.001 / 255, 104.298 / 255),
    "std": (256 / 255, 256 / 255, 256 / 255),
    "interpolation": "bilinear",
}
"""The preprocessing of the training: dlib's `(x - [122.782, 117.001, 104.298]) / 256` of 0..255."""


def preprocess(image: Image.Image) -> Tensor:
    """Return a photograph as input for the network, preprocessed as in `PREPROCESSING`.

    Args:
        image: A picture of any size and mode.

    Returns:
        Float32, (3, 227, 227).

    Convention:
        As in torchvision: the long side is rounded down, and the start of the crop rounds halves to even.

    Examples:
        >>> preprocess(Image.new("RGB", (400, 300), "black"))[:, 0, 0]
        tensor([-0.4796, -0.4570, -0.4074])
    """
    image = image.convert("RGB")
    short = min(image.size)
    if PREPROCESSING["resize"] is not None and short != PREPROCESSING["resize"]:
        sampling = Image.Resampling[PREPROCESSING["interpolation"].upper()]
        width, height = (side * PREPROCESSING["resize"] // short for side in image.size)
        image = image.resize((width, height), sampling)
    height, width = PREPROCESSING["crop"]
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    pixels = np.asarray(image.crop((left, top, left + width, top + height)), dtype=np.float32) / 255
    mean, std = (np.asarray(PREPROCESSING[key], dtype=np.float32) for key in ("mean", "std"))
    return torch.from_numpy((pixels - mean) / std).permute(2, 0, 1).contiguous()
