"""3-D max pooling by magnitude, with switches: over rows, columns and neighbouring feature maps.

*Source*: Zeiler, Taylor & Fergus (2011), section 2.1, and its program (`max_pool3d`, `reverse_max_pool3d`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from backlight.errors import BadInputError

MapBatch = Float[Tensor, "n _ _ _"]
"""Feature maps or images, n of them: what an operator takes and gives differ in channels and size."""
Pooled = Float[Tensor, "n groups rows cols"]
SwitchBatch = UInt8[Tensor, "n groups rows cols"]
SwitchMode = Literal["full", "position-only", "map-only", "centre", "average"]
"""What unpooling uses: the whole switch, only rows and columns, only the map, neither; or it averages."""

SWITCH_MODES: tuple[SwitchMode, ...] = get_args(SwitchMode)
_MOST = 256  # places in a block: a switch is one byte


@dataclass(frozen=True)
class Block:
    """A block of pooling: blocks do not overlap, and are cut off at the right and bottom border and the last map.

    Attributes:
        rows: Rows of a block.
        cols: Columns of a block.
        maps: Neighbouring feature maps of a block.

    Raises:
        BadInputError: A number below 1, or more than 256 places in a block.
    """

    rows: int = 1
    cols: int = 1
    maps: int = 1

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if min(self.rows, self.cols, self.maps) < 1 or self.n_places > _MOST:
            raise BadInputError(
                f"a block of pooling needs at least 1 row, column and map and at most {_MOST} places, "
                f"got {self.rows}x{self.cols}x{self.maps}"
            )

    @property
    def n_places(self) -> int:
        """Number of values in a whole block."""
        return self.rows * self.cols * self.maps

    def pooled(self, k: int, height: int, width: int) -> tuple[int, int, int]:
        """Return the number of groups, rows and columns that maps of a size are pooled to."""
        # -(-a // b) rounds up: a block that is cut off counts
        return -(-k // self.maps), -(-height // self.rows), -(-width // self.cols)


def pool(z: MapBatch, block: Block) -> tuple[Pooled, SwitchBatch]:
    """Return the value of largest magnitude in each block, with its sign, and its place in the block.

    Args:
        z: (n, k, h, w) feature maps.
        block: Size of a block.

    Returns:
        The pooled maps (n, groups, rows, cols), and switches of the same shape: the place in the block,
        map · rows · cols + row · cols + col.

    *Convention*: among values of the same magnitude, the first by map, then row, then column is taken.

    Example:
        >>> values, switches = pool(torch.tensor([[[[1.0, -3.0]], [[2.0, 0.0]]]]), Block(1, 2, 2))
        >>> float(values), int(switches)
        (-3.0, 1)
    """
    height, width = z.shape[2:]
    window = (block.maps, block.rows, block.cols)
    if block.n_places == 1:
        return z, torch.zeros_like(z, dtype=torch.uint8)
    # With the maps as a third axis, (n, 1, k, h, w), one library call pools over all three. It gives the index of each
    # maximum in the flat (k, h, w): (n, groups, rows, cols). ceil_mode keeps the blocks that the border cuts off.
    _, flat = F.max_pool3d(z.abs()[:, None], window, ceil_mode=True, return_indices=True)
    flat = flat[:, 0]
    # The maxima are of |z|; the values themselves, with their signs, are read from z.
    values = z.flatten(1).gather(1, flat.flatten(1)).view(flat.shape)
    # An index less that of the block's first value is the same for the same place in every block. So a table from these
    # differences to places turns indices into switches: ten times as fast as dividing integers. Most of its entries are
    # never looked up: in maps of 10 x 10, a block of 2 x 2 x 2 has the differences 0, 1, 10, 11, 100, 101, 110, 111.
    offsets = _flat(_inside(block, z.device), (height, width))
    place = torch.zeros(int(offsets[-1]) + 1, dtype=torch.uint8, device=z.device)
    place[offsets] = torch.arange(block.n_places, dtype=torch.uint8, device=z.device)
    corners = _flat([start for start, _ in _cuts(block, tuple(z.shape[1:]), z.device)], (height, width))  # type: ignore[arg-type]
    return values, place[flat - corners]


def _flat(axes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the indices of maps, rows and columns in flat feature maps of size (h, w), int64."""
    maps, rows, cols = axes
    return (maps * size[0] + rows) * size[1] + cols


def _inside(block: Block, device: torch.device) -> list[Tensor]:
    """Return the map, row and column of each place of a block, relative to its first, (places,) each."""
    # "ij": the map varies slowest and the column fastest, the order in which a switch counts the places
    axes = (torch.arange(n, device=device) for n in (block.maps, block.rows, block.cols))
    return [axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]


def _cuts(block: Block, shape: tuple[int, int, int], device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return along each axis the start and length of the blocks, to broadcast over (groups, rows, cols)."""
    found = []
    sizes = (block.maps, block.rows, block.cols)
    # starts of maps are (groups, 1, 1), of rows (rows, 1), of columns (cols,)
    shapes = ((-1, 1, 1), (-1, 1), (-1,))
    for size, length, count, ahead in zip(sizes, shape, block.pooled(*shape), shapes, strict=True):
        start = torch.arange(count, device=device).view(ahead) * size
        # every block is `size` long but for the last, which ends where the maps do
        found.append((start, (start + size).clamp_max(length) - start))
    return found


@dataclass(frozen=True, eq=False)
class Unpooling:
    """The linear map from pooled values back to feature maps for given switches and mode, and its adjoint.

    Attributes:
        switches: (n, groups, rows, cols) as `pool` gave them.
        block: The block of the pooling.
        shape: (k, h, w) of the feature maps.
        mode: Which part of the switches to use; the middle of the block replaces the rest. position-only puts a value
            into the middle map of its group, map-only into the middle of its rows and columns, centre into both middles
            (rounded down; in a block that is cut off, the middle of what remains). average puts value / places
            everywhere in the block.

    *Source*: the ablations of the authors' program (Max3NoK, Max3OnlyK, Max3NoInds, Avg3). *Differs*: there an average
    is not divided by the places; here each mode is the adjoint of a pooling that takes one value, or the mean.
    """

    switches: Tensor
    block: Block
    shape: tuple[int, int, int]
    mode: SwitchMode = "full"

    def __post_init__(self) -> None:
        """Refuse switches of another shape, and unknown modes."""
        if self.mode not in SWITCH_MODES:
            raise BadInputError(f"unknown use of switches {self.mode!r}; known are {', '.join(SWITCH_MODES)}")
        if tuple(self.switches.shape[1:]) != self.block.pooled(*self.shape):
            raise BadInputError(
                f"switches of maps {self.shape} must have the shape {self.block.pooled(*self.shape)}, "
                f"got {tuple(self.switches.shape[1:])}"
            )

    @cached_property
    def places(self) -> Tensor:
        """(n, groups · rows · cols) the index of each pooled value in the flat feature maps, int64."""
        # for the axes map, row, column: whether the switch says where along it the value is
        known = (self.mode in ("full", "map-only"), *(self.mode in ("full", "position-only"),) * 2)
        inside = _inside(self.block, self.switches.device)
        ahead = [
            own if is_known else torch.zeros_like(own) for own, is_known in zip(inside, known, strict=True)
        ]
        # Along an unknown axis every place of a block is its middle: the start is shifted, and nothing is added. `left`
        # is what the block has there: the middle of 3 is place 1, of 2 place 0.
        begin = [
            start if is_known else start + (left - 1) // 2
            for (start, left), is_known in zip(self._cuts(), known, strict=True)
        ]
        size = self.shape[1:]
        # (groups, rows, cols) starts + (places,) offsets looked up by the switches: (n, groups, rows, cols)
        return (_flat(begin, size) + _flat(ahead, size)[self.switches.long()]).flatten(1)

    def __call__(self, pooled: Tensor) -> Tensor:
        """Return pooled values (n, groups, rows, cols) unpooled to feature maps (n, k, h, w): U."""
        n, (k, height, width) = len(pooled), self.shape
        if self.mode == "average":
            # every value repeated over its block along the three axes, then cut off where the maps end
            spread = (pooled / self._counts()).repeat_interleave(self.block.maps, 1)
            spread = spread.repeat_interleave(self.block.rows, 2).repeat_interleave(self.block.cols, 3)
            return spread[:, :k, :height, :width]
        if self.block.n_places == 1:
            return pooled
        # Blocks do not overlap, so no two values have one place, and the order of writing does not matter.
        empty = pooled.new_zeros(n, k * height * width)
        return empty.scatter_(1, self.places, pooled.flatten(1)).view(n, k, height, width)

    def adjoint(self, maps: Tensor) -> Tensor:
        """Return the values (n, groups, rows, cols) that the same switches pick from feature maps (n, k, h, w): U'."""
        if self.mode == "average":
            sizes = (self.block.maps, self.block.rows, self.block.cols)
            # maps are padded to whole blocks, then summed over each (divisor 1)
            lacking = [
                n * size - length
                for n, size, length in zip(self.switches.shape[1:], sizes, self.shape, strict=True)
            ]
            whole = F.pad(maps, (0, lacking[2], 0, lacking[1], 0, lacking[0]))
            return F.avg_pool3d(whole[:, None], sizes, divisor_override=1)[:, 0] / self._counts()
        if self.block.n_places == 1:
            return maps
        # reads what `__call__` writes: (n, k·h·w) at (n, groups·rows·cols) places
        return maps.flatten(1).gather(1, self.places).view(len(maps), *self.switches.shape[1:])

    def _counts(self) -> Tensor:
        """Return (groups, rows, cols) the number of values in each block: fewer where it is cut off."""
        groups, rows, cols = (left for _, left in self._cuts())
        return groups * rows * cols

    def _cuts(self) -> list[tuple[Tensor, Tensor]]:
        return _cuts(self.block, self.shape, self.switches.device)
