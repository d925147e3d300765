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
"""What unpooling still knows: all of a switch, only rows and columns, only the map, neither; or it averages."""

SWITCH_MODES: tuple[SwitchMode, ...] = get_args(SwitchMode)
_MOST = 256


@dataclass(frozen=True)
class Block:
    """A block of pooling: blocks do not overlap, and are cut where the maps end at the right, bottom and last map.

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
        """Refuse what is no block."""
        if min(self.rows, self.cols, self.maps) < 1 or self.n_places > _MOST:
            raise BadInputError(
                f"a block of pooling has at least 1 row, column and map and at most {_MOST} places, "
                f"but came {self.rows}x{self.cols}x{self.maps}"
            )

    @property
    def n_places(self) -> int:
        """Number of values of a whole block."""
        return self.rows * self.cols * self.maps

    def pooled(self, k: int, height: int, width: int) -> tuple[int, int, int]:
        """Return the number of groups, rows and columns that maps of a size are pooled to."""
        return -(-k // self.maps), -(-height // self.rows), -(-width // self.cols)


def pool(z: MapBatch, block: Block) -> tuple[Pooled, SwitchBatch]:
    """Return the value of largest magnitude of each block, its sign kept, and where in the block it was.

    Args:
        z: Feature maps.
        block: Of which size.

    Returns:
        The pooled maps (n, groups, rows, cols), and switches of the same shape: the place in the block,
        map · rows · cols + row · cols + col.

    *Convention*: among values of the same magnitude the first counts, by map, then row, then column.

    Example:
        >>> values, switches = pool(torch.tensor([[[[1.0, -3.0]], [[2.0, 0.0]]]]), Block(1, 2, 2))
        >>> float(values), int(switches)
        (-3.0, 1)
    """
    height, width = z.shape[2:]
    window = (block.maps, block.rows, block.cols)
    if block.n_places == 1:
        return z, torch.zeros_like(z, dtype=torch.uint8)
    _, flat = F.max_pool3d(z.abs()[:, None], window, ceil_mode=True, return_indices=True)
    flat = flat[:, 0]
    values = z.flatten(1).gather(1, flat.flatten(1)).view(flat.shape)
    offsets = _flat(_inside(block, z.device), (height, width))
    place = torch.zeros(int(offsets[-1]) + 1, dtype=torch.uint8, device=z.device)
    place[offsets] = torch.arange(block.n_places, dtype=torch.uint8, device=z.device)
    corners = _flat([start for start, _ in _cuts(block, tuple(z.shape[1:]), z.device)], (height, width))  # type: ignore[arg-type]
    return values, place[flat - corners]  # a table: ten times as fast as to divide integers


def _flat(axes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return where in flat feature maps of a size (h, w) maps, rows and columns are, int64."""
    maps, rows, cols = axes
    return (maps * size[0] + rows) * size[1] + cols


def _inside(block: Block, device: torch.device) -> list[Tensor]:
    """Return the map, row and column, from where a block begins, of each of its places, (places,) each."""
    axes = (torch.arange(n, device=device) for n in (block.maps, block.rows, block.cols))
    return [axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]


def _cuts(block: Block, shape: tuple[int, int, int], device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return along each axis where blocks begin and how long they are, to broadcast over (groups, rows, cols)."""
    found = []
    sizes = (block.maps, block.rows, block.cols)
    shapes = ((-1, 1, 1), (-1, 1), (-1,))
    for size, length, count, ahead in zip(sizes, shape, block.pooled(*shape), shapes, strict=True):
        start = torch.arange(count, device=device).view(ahead) * size
        found.append((start, (start + size).clamp_max(length) - start))
    return found


@dataclass(frozen=True, eq=False)
class Unpooling:
    """The linear map from pooled values back to feature maps that switches and a mode make, and its adjoint.

    Attributes:
        switches: (n, groups, rows, cols) as `pool` gave them.
        block: Of the pooling.
        shape: (k, h, w) of the feature maps.
        mode: What of the switches counts. What is not known is the middle of the block: position-only puts a value
            into the middle map of its group, map-only in the middle of the window, centre into both middles (half
            rounded down; in blocks that are cut, of what is left). average puts value / places everywhere in the
            block.

    *Source*: the ablations of the authors' program (Max3NoK, Max3OnlyK, Max3NoInds, Avg3). *Differs*: there an average
    is put everywhere undivided; here each mode is the adjoint of a pooling that takes one value, or the mean.
    """

    switches: Tensor
    block: Block
    shape: tuple[int, int, int]
    mode: SwitchMode = "full"

    def __post_init__(self) -> None:
        """Refuse switches of another shape, and modes that there are not."""
        if self.mode not in SWITCH_MODES:
            raise BadInputError(f"switches are used {', '.join(SWITCH_MODES)}, but came {self.mode!r}")
        if tuple(self.switches.shape[1:]) != self.block.pooled(*self.shape):
            raise BadInputError(
                f"switches of maps {self.shape} have the shape {self.block.pooled(*self.shape)}, "
                f"but came {tuple(self.switches.shape[1:])}"
            )

    @cached_property
    def places(self) -> Tensor:
        """(n, groups · rows · cols) where in the flat feature maps each pooled value belongs, int64."""
        known = (self.mode in ("full", "map-only"), *(self.mode in ("full", "position-only"),) * 2)
        inside = _inside(self.block, self.switches.device)
        ahead = [
            own if is_known else torch.zeros_like(own) for own, is_known in zip(inside, known, strict=True)
        ]
        begin = [
            start if is_known else start + (left - 1) // 2
            for (start, left), is_known in zip(self._cuts(), known, strict=True)
        ]
        size = self.shape[1:]
        return (_flat(begin, size) + _flat(ahead, size)[self.switches.long()]).flatten(1)

    def __call__(self, pooled: Tensor) -> Tensor:
        """Return the feature maps (n, k, h, w) that pooled values (n, groups, rows, cols) are unpooled to: U."""
        n, (k, height, width) = len(pooled), self.shape
        if self.mode == "average":
            spread = (pooled / self._counts()).repeat_interleave(self.block.maps, 1)
            spread = spread.repeat_interleave(self.block.rows, 2).repeat_interleave(self.block.cols, 3)
            return spread[:, :k, :height, :width]
        if self.block.n_places == 1:
            return pooled
        empty = pooled.new_zeros(n, k * height * width)
        return empty.scatter_(1, self.places, pooled.flatten(1)).view(n, k, height, width)

    def adjoint(self, maps: Tensor) -> Tensor:
        """Return what of feature maps (n, k, h, w) the same switches pick, (n, groups, rows, cols): P = U'."""
        if self.mode == "average":
            sizes = (self.block.maps, self.block.rows, self.block.cols)
            lacking = [
                n * size - length
                for n, size, length in zip(self.switches.shape[1:], sizes, self.shape, strict=True)
            ]
            whole = F.pad(maps, (0, lacking[2], 0, lacking[1], 0, lacking[0]))
            return F.avg_pool3d(whole[:, None], sizes, divisor_override=1)[:, 0] / self._counts()
        if self.block.n_places == 1:
            return maps
        return maps.flatten(1).gather(1, self.places).view(len(maps), *self.switches.shape[1:])

    def _counts(self) -> Tensor:
        """Return (groups, rows, cols) how many values each block holds: fewer where it is cut."""
        groups, rows, cols = (left for _, left in self._cuts())
        return groups * rows * cols

    def _cuts(self) -> list[tuple[Tensor, Tensor]]:
        return _cuts(self.block, self.shape, self.switches.device)
