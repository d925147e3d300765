"""Colours: between the scale of the priors, grey levels without their mean, and that of a network's inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.network import Network

LEVELS = 255.0
RMS = 68.9
"""Root mean square of photographs in grey levels without their mean: the paper's σ = 27098.1 over 227 x 227 x 3."""


@dataclass(frozen=True, eq=False)
class Colours:
    """Between grey levels without their mean (-128 to 128 or so) and a network's inputs; both (n, c, h, w).

    *Convention*: the mean colour is the preprocessing's; mid-grey where that is black (nothing is subtracted). A
    network without preprocessing is assumed to take inputs of mean 0 and standard deviation 1.

    Attributes:
        per_unit: (1, c, 1, 1) grey levels per unit of the network's input.
        offset: (1, c, 1, 1) the network's input for the mean colour.
        mean: (1, c, 1, 1) the mean colour in grey levels.
    """

    per_unit: Tensor
    offset: Tensor
    mean: Tensor

    @classmethod
    def of(cls, net: Network) -> Colours:
        """Return the scales of a network, on its device."""
        n_colours = net.input_shape[0]
        if net.preprocessing is None:
            per_unit, offset, mean = [RMS] * n_colours, [0.0] * n_colours, [LEVELS / 2] * n_colours
        else:
            means, stds = net.preprocessing.mean, net.preprocessing.std
            # an input i stands for the pixel value i * std + mean, both of them 0..1 for black to white
            shown = means if any(means) else (0.5,) * n_colours
            per_unit = [LEVELS * std for std in stds]
            offset = [(own - m) / std for own, m, std in zip(shown, means, stds, strict=True)]
            mean = [LEVELS * own for own in shown]
        return cls(
            *(
                torch.tensor(v, dtype=net.dtype, device=net.device).view(1, -1, 1, 1)
                for v in (per_unit, offset, mean)
            )
        )

    def to_inputs(self, levels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the network's inputs for grey levels without their mean."""
        return torch.addcdiv(self.offset, levels, self.per_unit)

    def to_levels(self, inputs: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the grey levels without their mean of a network's inputs."""
        return (inputs - self.offset) * self.per_unit

    def to_shown(self, levels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return what a picture of 8 bits holds of grey levels without their mean, in the same scale.

        *Convention*: every channel counts, also where `to_pixels` shows two as one grey, or three of many.
        """
        return (levels + self.mean).round().clamp(0, LEVELS) - self.mean

    def to_pixels(self, levels: Float[Tensor, "n c h w"]) -> NDArray[np.uint8]:
        """Return (n, h, w, 3) 8-bit pictures of grey levels without their mean; 1 or 2 channels give grey."""
        # (n, c, h, w) to (n, h, w, c), as pictures are stored; rounded again, since without the mean it was not whole
        whole = (self.to_shown(levels) + self.mean).round().permute(0, 2, 3, 1)
        if whole.shape[3] < 3:  # (n, h, w, 1), seen as three channels without a copy
            whole = whole.mean(3, keepdim=True).expand(-1, -1, -1, 3)
        pixels: NDArray[np.uint8] = whole[..., :3].to(torch.uint8).cpu().numpy()
        return pixels
