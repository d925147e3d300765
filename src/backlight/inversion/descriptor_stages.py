"""The stages of HOG and dense SIFT: fixed convolutions, the binning of gradients, the normalisation of blocks."""

from __future__ import annotations

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor, nn

_LEAST_EDGE = 1e-10
_TIE = 1e-5
_CLAMP = 0.2
_SIFT_SIGMA = 1.5
SIFT_CELLS = 4

DescriptorMaps = Float[Tensor, "n c rows cols"]


class Binning(nn.Module):
    """The length of each gradient, given to the directions nearest to its own.

    *Convention*: a gradient shorter than 1e-10 counts as none, and has no derivative.
    """

    directions: Tensor

    def __init__(self, orientations: int, hard: bool) -> None:
        super().__init__()
        self.orientations, self.hard = orientations, hard
        self.register_buffer("directions", torch.arange(2.0 * orientations).view(1, -1, 1, 1))

    def forward(self, gradient: Float[Tensor, "n 2 h w"]) -> DescriptorMaps:
        """Return (n, 2·orientations, h, w) lengths, at least 0, of gradients along columns and rows."""
        # (n, 1, h, w) each
        across, down = gradient[:, :1], gradient[:, 1:]
        squares = across.square() + down.square()
        flat = squares <= _LEAST_EDGE**2
        # Neither the root nor the angle has a derivative at 0, where the chain rule would give NaN.
        length = squares.masked_fill(flat, 1.0).sqrt().masked_fill(flat, 0.0)
        angle = torch.atan2(down, across.masked_fill(flat, 1.0))
        # The angle becomes a number of bins, π / orientations each; both factors are (n, 2·orientations, h, w).
        # Repeated rather than broadcast, so that a captured network sees the channels here.
        return length.repeat(1, 2 * self.orientations, 1, 1) * self._shares(angle * (self.orientations / pi))

    def _shares(self, angle: Tensor) -> Tensor:
        """Return each direction's share (n, 2·orientations, h, w), 0..1, of angles (n, 1, h, w) in units of a bin."""
        whole_turn, half_turn = 2 * self.orientations, self.orientations
        if self.hard:
            # For odd orientations, vertical gradients, which are common, lie exactly between two directions: _TIE
            # decides for the first, so that rounding does not. ceil(x - 0.5) rounds to the nearest, halves down.
            nearest = (angle - (0.5 + _TIE)).ceil().remainder(whole_turn)
            return (nearest == self.directions).to(angle.dtype)
        # signed distance to each direction around the circle, in -half_turn..half_turn; a tent of one bin either side
        away = (angle - self.directions + half_turn).remainder(whole_turn) - half_turn
        return (1 - away.abs()).relu()


class Normalise(nn.Module):
    """Blocks (n, c, rows, cols) of values >= 0, divided by √(max(squares, floor) + offset) and clamped at 0.2.

    Args:
        counted: (c,) 1 for a channel whose square counts, else 0.
        floor: Smallest sum of squares.
        offset: Added to the sum.
    """

    counted: Tensor

    def __init__(self, counted: Tensor, floor: float = 0.0, offset: float = 0.0) -> None:
        super().__init__()
        self.floor, self.offset = floor, offset
        self.register_buffer("counted", counted.view(1, -1, 1, 1))

    def forward(self, blocks: DescriptorMaps) -> DescriptorMaps:
        """Return blocks of the same shape."""
        # (n, 1, rows, cols): one length for each block
        squares = (blocks.square() * self.counted).sum(1, keepdim=True)
        length = (squares.masked_fill(squares < self.floor, self.floor) + self.offset).sqrt()
        return (blocks / length).clamp(max=_CLAMP)


def fixed(weight: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    """Return a convolution with fixed weights."""
    c_out, c_in, rows, cols = weight.shape
    # on the meta device, so that no random numbers are drawn for weights that are not used
    conv = nn.Conv2d(
        c_in * groups, c_out, (rows, cols), stride, padding, groups=groups, bias=False, device="meta"
    )
    conv.weight = nn.Parameter(weight, requires_grad=False)
    return conv


def central_differences(padding: int) -> nn.Conv2d:
    """Return the convolution that gives (next - previous) / 2 along the columns, and along the rows."""
    # along the columns: the middle row of the first kernel; along the rows: the middle column of the second
    weight = torch.zeros(2, 1, 3, 3)
    weight[0, 0, 1] = torch.tensor([-0.5, 0.0, 0.5])
    weight[1, 0, :, 1] = torch.tensor([-0.5, 0.0, 0.5])
    return fixed(weight, padding=padding)


def tents(n_maps: int, size: int, padding: int) -> nn.Conv2d:
    """Return the sums of each map under bilinear tents: weight 1 - d / size at distance d from the cell's centre."""
    # 2·size pixels from the middle of the cell before to the middle of the cell after, in units of a cell
    away = (torch.arange(2.0 * size) + 0.5 - size) / size
    tent = 1 - away.abs()
    # one kernel (2·size, 2·size) for every map: (n_maps, 1, 2·size, 2·size), each map by itself (groups)
    weight = torch.outer(tent, tent).expand(n_maps, 1, -1, -1).clone()
    return fixed(weight, stride=size, padding=padding, groups=n_maps)


def hog_blocks(orientations: int) -> Tensor:
    """Return weights (12·orientations, 2·orientations, 2, 2) that stack 2 x 2 cells and sums of opposite directions."""
    # rows: the 3·orientations features of a cell; columns: its directions. The sums add direction k and k + half a
    # turn.
    half = torch.eye(orientations)
    directions = torch.cat([torch.eye(2 * orientations), torch.cat([half, half], 1)])
    each = torch.eye(2)
    # i, j: the cell's row and column in the block, which a, b of the kernel must equal; o: feature; d: direction.
    # (2, 2, 3·orientations, 2·orientations, 2, 2), of which i, j, o become the channels.
    return torch.einsum("ia,jb,od->ijodab", each, each, directions).flatten(0, 2)


def hog_cells(n_features: int) -> Tensor:
    """Return weights (n, 4·n, 2, 2) that give half of the sum of a cell's features over the four blocks it is in."""
    other = torch.eye(2).flip(0)  # a cell is the second one in the block before it, and the first in its own
    # i, j: row and column of the cell in the block read at a, b of the kernel; channels of blocks run over i, j, d
    return 0.5 * torch.einsum("ia,jb,od->oijdab", other, other, torch.eye(n_features)).flatten(1, 3)


def sift_blocks(n_directions: int) -> Tensor:
    """Return weights (16·n, n, 4, 4) that stack 4 x 4 cells under a Gaussian around the block's centre."""
    away = torch.arange(SIFT_CELLS) - (SIFT_CELLS - 1) / 2
    near = torch.exp(-0.5 * (away / _SIFT_SIGMA).square())
    each = torch.eye(SIFT_CELLS)
    # i, j, o: row, column and direction in the block; d, a, b: direction, row and column of the cells read
    weight = torch.einsum("ia,jb,od,i,j->ijodab", each, each, torch.eye(n_directions), near, near)
    return weight.flatten(0, 2)
