"""What the tests of images share: pictures of 8 bits and of 12, how they are written, and what is said of them."""

import io
import warnings

import numpy as np
import torch
from PIL import Image

from backlight.errors import RangeWarning
from backlight.images import Preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
_RNG = np.random.default_rng(0)
GREY = _RNG.integers(0, 256, (20, 30), dtype=np.uint8)
TWELVE = _RNG.integers(0, 4096, (20, 30), dtype=np.uint16)
_RNG = np.random.default_rng(0)
_SIZES = [(40, 61), (300, 251), (13, 90)]
PICTURES = [Image.fromarray(_RNG.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in _SIZES]
WHOLE = Preprocessing(None, (20, 30), (0.5,), (0.25,))
"""Takes pictures of the size of `GREY` and `TWELVE` as they are."""


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def save(path, colour="red", size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, "PNG")


def names(source):
    return [record.path for record in source.records]


def same_bits(one, other):
    assert one.dtype == other.dtype == torch.float32
    assert one.shape == other.shape
    assert torch.equal(one, other), f"largest difference {(one - other).abs().max()}"


def ranged(low, high, **changes):
    values = {"resize": None, "crop": (20, 30), "mean": (0.0,), "std": (1.0,), **changes}
    return Preprocessing(**values, range=(low, high))


def told(call):
    """Return what a call gives, and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call()
    assert all(issubclass(own.category, RangeWarning) for own in caught)
    return found, [str(own.message) for own in caught]
