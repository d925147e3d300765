"""R, the linear map from one layer's feature maps to the pixels for given switches, and its adjoint R'.

*Source*: Zeiler, Taylor & Fergus (2011), section 2: R = F₁ U₁ F₂ U₂ … Fₗ, with filters F and unpooling U. Nothing is
rectified, and signs are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backlight.adaptive.pooling import Block, MapBatch, Unpooling, pool

_FEW = 4
"""Up to this many maps are painted by phases."""

Filters = Float[Tensor, "k c side side"]


def paint(z: MapBatch, filters: Filters) -> MapBatch:
    """Return the maps (n, c, h - side + 1, …) into which each value of z paints its filter, upright, times itself: F.

    *Convention*: the "valid" convolution: a value in row r paints rows r - side + 1 to r of the maps below.
    """
    # conv2d correlates, and reads k maps for each of c: so flip the filter, and bring (k, c, side, side) to (c, k, ...)
    # Row o of the result sums rows o + t of z times rows side - 1 - t of the filter, t = 0 to side - 1. So row r of z
    # reaches rows r - side + 1 to r.
    kernel = filters.flip(2, 3).transpose(0, 1)
    if len(kernel) > _FEW:
        return F.conv2d(z, kernel)
    return _paint_by_phases(z, kernel)


def _paint_by_phases(z: MapBatch, kernel: Tensor) -> MapBatch:
    """Return the same for few maps, split into even and odd rows and columns: CPU libraries are slow for few outputs.

    Each of the four phases is an output of its own, with a kernel one longer and a stride of two: 5 times as fast for
    one map.
    """
    c, k, side, _ = kernel.shape
    n, _, height, width = z.shape
    rows, cols = height - side + 1, width - side + 1
    # The output at row 2i + 1 reads one row further than that at 2i: both fit a kernel of side + 1 at rows 2i, shifted
    # by one within it. (c, phase row, phase col, k, side + 1, side + 1)
    phases = kernel.new_zeros(c, 2, 2, k, side + 1, side + 1)
    for top, left in ((0, 0), (0, 1), (1, 0), (1, 1)):
        phases[:, top, left, :, top : top + side, left : left + side] = kernel
    # A stride of two must reach the last row and column too: an odd one gets a neighbour, which is cut off again below.
    even = F.pad(z, (0, cols % 2, 0, rows % 2)) if rows % 2 or cols % 2 else z  # padding by nothing copies
    even = even.contiguous(memory_format=torch.channels_last)
    parts = F.conv2d(even, phases.flatten(0, 2).contiguous(memory_format=torch.channels_last), stride=2)
    # (n, c·2·2, rows / 2, cols / 2), rounded up. Each phase's rows and columns go between those of the others: the axes
    # (n, c, phase row, phase col, i, j) become (n, c, i, phase row, j, phase col), and merge to rows 2i + phase row.
    maps = parts.reshape(n, c, 2, 2, *parts.shape[2:]).permute(0, 1, 4, 2, 5, 3)
    return maps.reshape(n, c, 2 * parts.shape[2], 2 * parts.shape[3])[:, :, :rows, :cols].contiguous()


def match(maps: MapBatch, filters: Filters) -> MapBatch:
    """Return the correlation of maps (n, c, h, w) with each filter at every place, (n, k, h + side - 1, …): F'."""
    # padded by side - 1, so that places where only a corner of the filter touches the maps count: `paint` writes there
    return F.conv2d(maps, filters, padding=filters.shape[2] - 1)


def filter_gradient(maps: MapBatch, z: MapBatch, side: int) -> Filters:
    """Return the gradient of ⟨paint(z, f), maps⟩ by f, (k, c, side, side): the adjoint of `paint` in the filters."""
    # `match` is conv2d(maps, f) padded by side - 1, and ⟨match(maps, f), z⟩ is the same number: the gradient of its
    # weight is asked for (output mask False, True, False), for z in the place of the output's gradient.
    gradient: Tensor = torch.ops.aten.convolution_backward(
        z, maps, maps.new_empty(z.shape[1], maps.shape[1], side, side), None, (1, 1), (side - 1,) * 2, (1, 1), False,
        (0, 0), 1, (False, True, False),
    )[1]  # fmt: skip
    return gradient


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """R of one layer for some images.

    Attributes:
        filters: Of layer 1 up to this one, each (k, c, side, side).
        below: The unpooling of each layer below this one, for these images.
    """

    filters: tuple[Tensor, ...]
    below: tuple[Unpooling, ...] = ()

    def __call__(self, z: MapBatch) -> MapBatch:
        """Return the images (n, c, h, w) that feature maps (n, k, h, w) of the layer reconstruct: R z."""
        return self.descend(paint(z, self.filters[-1]))

    def adjoint(self, images: MapBatch) -> MapBatch:
        """Return R' of images (n, c, h, w), shaped like the layer's feature maps (n, k, h, w)."""
        return match(self.ascend(images), self.filters[-1])

    def descend(self, maps: MapBatch) -> MapBatch:
        """Return the images for what the layer's filters have painted, the pooled maps of the layer below: B."""
        # From the layer below this one to layer 1: unpool its pooled maps (n, groups, rows, cols) to (n, k, h, w), and
        # paint these into the layer below it. [-2::-1] leaves out this layer's own filters, which is all in layer 1.
        for filters, unpool in zip(self.filters[-2::-1], self.below[::-1], strict=True):
            maps = paint(unpool(maps), filters)
        return maps

    def ascend(self, images: MapBatch) -> MapBatch:
        """Return B' of images, which is R' without the layer's own filters."""
        # from layer 1 up: each step of `descend` transposed, in reverse order
        for filters, unpool in zip(self.filters[:-1], self.below, strict=True):
            images = unpool.adjoint(match(images, filters))
        return images

    def squared_norm(
        self, start: MapBatch, steps: int = 20, block: Block | None = None
    ) -> tuple[Tensor, MapBatch]:
        """Return (n,) the largest ‖R z‖² over codes z of length 1 for each image, and the codes where it is reached.

        By power iteration. Pooled codes hold at most one value in each block, so every step keeps only that; the result
        is far smaller than over all z: 6 instead of 80 for the paper's first layer.

        Args:
            start: (n, k, h, w) initial codes, not zero.
            steps: Iterations. Fewer underestimate, never overestimate.
            block: Block of the layer's own pooling; None for none.
        """
        z = start
        norms = z.new_zeros(len(z))
        for _ in range(steps):
            z = _one_a_block(z, block)
            # tiny instead of 0: an image whose codes have died out divides by it and stays 0
            lengths = z.flatten(1).norm(dim=1).clamp_min(torch.finfo(z.dtype).tiny)
            z = z / lengths.view(-1, 1, 1, 1)
            images = self(z)
            # z has length 1, so this is ‖R z‖² / ‖z‖², which is never above the largest
            norms = images.flatten(1).square().sum(1)
            z = self.adjoint(images)  # R'R z, which turns z towards the direction that R stretches most
        return norms, z


def _one_a_block(z: MapBatch, block: Block | None) -> MapBatch:
    """Return codes (n, k, h, w) with all but the largest magnitude of each block set to zero."""
    if block is None or block.n_places == 1:
        return z
    # out to (n, groups, rows, cols) and back, each to its own place
    pooled, switches = pool(z, block)
    kept: Tensor = Unpooling(switches, block, tuple(z.shape[1:]))(pooled)  # type: ignore[arg-type]
    return kept
