"""A picture for HOG and dense SIFT, what each of their stages makes of it, and the comparison with a replica."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def noise_picture(height: int, width: int, n: int = 1, seed: int = 0) -> Tensor:
    """Return smooth noise, (n, 1, height, width), float64, without two equal neighbours."""
    noise = torch.randn(
        n, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return 60 * nn.functional.avg_pool2d(noise, 3, 1, 1)


def stages_of(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    found = {"image": x}
    for name, stage in model.named_children():
        x = found[name] = stage(x)
    return found


def close_to_replica(ours: Tensor, replica: np.ndarray) -> None:
    """Compare with a replica: weights that are no binary fractions are rounded to float32 in ours, sums in theirs."""
    torch.testing.assert_close(ours, torch.from_numpy(replica), rtol=1e-6, atol=1e-9)
