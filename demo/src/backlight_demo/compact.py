"""How the weights are stored compactly: one signed byte per weight, one step size per output channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 127
"""The largest stored value, so that the range is symmetric about zero."""

SCALE = ".scale"
"""Appended to the name of a tensor to name its step sizes."""


def encode(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the weights in steps, and the step size of each output channel.

    Args:
        weight: Finite values, (n_out, ...).

    Returns:
        The steps, integers from -127 to 127 in the shape of `weight`, and the positive size of one step,
        (n_out,).

    Convention:
        The largest magnitude of a channel is 127 steps, so nothing is clipped and the error is at most half a
        step. Halves round to even. A channel of zeros has a step of 1.

    Examples:
        >>> steps, scale = encode(np.float32([[-0.5, 0.25]]))
        >>> steps.tolist(), round(1 / float(scale[0]))
        ([[-127, 64]], 254)
    """
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    scale = np.where(largest > 0, largest / LEVELS, 1).astype(np.float32)
    return np.rint(weight / _per_channel(scale, weight)).astype(np.int8), scale


def decode(steps: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weights: steps times step size.

    Args:
        steps: Integers, (n_out, ...).
        scale: Size of one step of each output channel, (n_out,).

    Returns:
        The weights, in the shape of `steps`.

    Examples:
        >>> decode(np.int8([[-127, 64]]), np.float32([0.5])).tolist()
        [[-63.5, 32.0]]
    """
    return steps.astype(np.float32) * _per_channel(scale, steps)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a compact `.npz` file.

    Args:
        path: File with the tensors under their names in the module; for a tensor stored in steps, its name with
            `.scale` appended gives the step sizes.

    Returns:
        Name to float32 tensor.
    """
    state = {}
    with np.load(path) as stored:
        for name in stored.files:
            if name.endswith(SCALE):
                continue
            scaled = name + SCALE in stored.files
            array = decode(stored[name], stored[name + SCALE]) if scaled else stored[name]
            state[name] = torch.from_numpy(array.astype(np.float32))
    return state


def _per_channel(scale: NDArray[np.float32], like: NDArray[np.generic]) -> NDArray[np.float32]:
    return scale.reshape(-1, *[1] * (like.ndim - 1))
