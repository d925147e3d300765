"""What a function makes of a picture, and how it is told from other functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import BadInputError
from backlight.text import one_line, shortened, visible

LONGEST_DESCRIPTION = 300
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described(function: Any) -> str:
    """Return a function in words that are the same from run to run."""
    has_own_repr = getattr(type(function), "__repr__", None) is not getattr(object, "__repr__", None)
    if hasattr(function, "__qualname__") or not has_own_repr:
        named = function if hasattr(function, "__qualname__") else type(function)
        return shortened(visible(f"{named.__module__}.{named.__qualname__}"), LONGEST_DESCRIPTION)
    return shortened(visible(" ".join(_ADDRESS.sub("", repr(function)).split())), LONGEST_DESCRIPTION)


def tried(function: Any, size: tuple[int, int], mode: str, name: str) -> NDArray[np.float32]:
    """Return what a function makes of a fixed picture of a size (h, w) and a mode.

    Raises:
        BadInputError: It fails, gives something else, or another tensor the second time.
    """
    height, width = size
    down, across = np.mgrid[0:height, 0:width]
    planes = [down * 255 // height, across * 255 // width, (down // 8 + across // 8) % 2 * 255]
    picture = Image.fromarray(np.uint8(np.stack(planes, 2))).convert(mode)
    try:
        first, second = (called(function, picture.copy()) for _ in range(2))
    except BadInputError as error:
        raise BadInputError(f"{name} cannot be a preprocessing: {error}") from error
    if first.shape != second.shape or not np.array_equal(first, second):
        raise BadInputError(
            f"{name} gives another tensor each time; leave what is random out of it, as for evaluation"
        )
    return first


def called(function: Any, picture: Image.Image) -> NDArray[np.float32]:
    """Return what a function makes of a picture, as an array (c, h, w).

    Raises:
        BadInputError: It fails, or gives something else.
    """
    import torch

    try:
        with torch.no_grad():
            found = function(picture)
    except MemoryError:
        raise
    # It is the user's own code, which may raise anything.
    except Exception as error:
        raise BadInputError(f"it failed: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(found, torch.Tensor) or not found.is_floating_point():
        kind = str(found.dtype) if isinstance(found, torch.Tensor) else type(found).__name__
        raise BadInputError(f"it gave a {kind}; a tensor (c, h, w) of floats is expected")
    tensor = found[0] if found.dim() == 4 and len(found) == 1 else found
    if tensor.dim() != 3 or tensor.shape[0] not in (1, 3):
        raise BadInputError(
            f"it gave a tensor {'x'.join(map(str, found.shape))}; (c, h, w) is expected, of 1 or 3 channels"
        )
    if not bool(tensor.isfinite().all()):
        raise BadInputError("it gave NaN or infinite values")
    array: NDArray[np.float32] = tensor.detach().cpu().to(torch.float32).contiguous().numpy()
    return array


def normalising(function: Any, channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and deviation of the last Normalize in a function; 0 and 1 where there is none."""
    found = [step for step in _steps(function) if hasattr(step, "mean") and hasattr(step, "std")]
    if not found:
        return (0.0,) * channels, (1.0,) * channels
    mean, std = (np.ravel(np.asarray(own, float)).tolist() for own in (found[-1].mean, found[-1].std))
    return mean * (channels // len(mean)), std * (channels // len(std))


def _steps(function: Any) -> Iterator[Any]:
    """Yield a transform and those that it is made of."""
    yield function
    inner = getattr(function, "transforms", None)
    if inner is None and hasattr(function, "children"):
        inner = function.children()
    for step in inner if inner is not None else ():
        yield from _steps(step)


def fingerprint_of(tensors: Sequence[NDArray[np.float32]]) -> str:
    """Return a hash of tensors, 64 hex digits."""
    sha = hashlib.sha256()
    for own in tensors:
        sha.update(f"{own.shape} ".encode() + np.ascontiguousarray(own, "<f4").tobytes())
    return sha.hexdigest()
