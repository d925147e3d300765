"""Precision: float32 that is float32, also on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Run a block without TF32, in which PyTorch lets cuDNN convolve: its 11 bits move activations by a thousandth."""
    cudnn: Any = torch.backends.cudnn
    # Read by the newer name, set by the older: neither complains about settings that were made by the other.
    is_on = cudnn.conv.fp32_precision == "tf32"
    if is_on:
        cudnn.allow_tf32 = False
    try:
        yield
    finally:
        if is_on:
            cudnn.allow_tf32 = True
