"""Windows: a signal that is zero but on one window of a map, for each of n units, and the values that stand there.

In the backward pass the signal of a unit fills a window that grows from one cell to the unit's receptive field. The
windows of n units have one size and are stacked into one tensor; where each of them lies in its map is kept beside it.
A window may reach over the map's edge: the map has no cells there, and the signal is set to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Starts = NDArray[np.int64]
Axes = tuple[tuple[int, Starts], ...]

_WORTH_A_COPY = 0.9
"""Windows are cut to the part of their length that lies inside the map where that is this share of it or less."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The signals of n units in one map.

    Attributes:
        data: (n, ...) the signals, zero outside of their windows.
        axes: For rows and for columns the dimension of data and the (n,) first cells; none if data is the map.
        fresh: Whether nothing else holds the data, so that it may be changed in place.
    """

    data: Tensor
    axes: Axes = ()
    fresh: bool = True

    @classmethod
    def at(cls, places: Sequence[tuple[int, ...]], values: Tensor, n_maps: int) -> Windows:
        """Return the signals of units (channel,) or (channel, row, col) that have these values (n,)."""
        channel, *cells = np.asarray(places, np.int64).T  # each (n,): the columns of (n, 1) or (n, 3)
        # (n, c, 1, 1): one cell for each unit, at (row, col) of its map; (n, c) where the layer has no positions.
        data = values.new_zeros(len(values), n_maps, *[1] * len(cells))
        index = torch.arange(len(values)), torch.from_numpy(channel), *[0] * len(cells)
        data[index] = values  # type: ignore[index]
        return cls(in_order(data), tuple((2 + i, starts) for i, starts in enumerate(cells)))

    def halves(self) -> tuple[Windows, Windows]:
        """Return the signals of the first half of the units and those of the second."""
        middle = len(self.data) // 2
        return tuple(  # type: ignore[return-value]
            replace(self, data=self.data[part], axes=tuple((dim, starts[part]) for dim, starts in self.axes))
            for part in (slice(middle), slice(middle, None))
        )

    def with_data(self, data: Tensor, fresh: bool = True) -> Windows:
        """Return other signals on the same windows."""
        return replace(self, data=data, fresh=fresh)

    def covers(self, shape: Sequence[int]) -> bool:
        """Return whether each window is its whole map, of that shape."""
        return all(self.data.shape[dim] == shape[dim] and not starts.any() for dim, starts in self.axes)

    def inside(self, shape: Sequence[int]) -> Windows:
        """Return the signals without what lies over the edges of a map of that shape; data is changed in place.

        Where all windows reach over the edges, so that none needs its whole length, they get shorter.
        """
        data, axes = self.data, []
        for dim, starts in self.axes:
            size, length = data.shape[dim], shape[dim]
            # (n,) the part of each window that lies inside the map, [low, high); all get the longest part's length.
            low, high = starts.clip(0), (starts + size).clip(max=length)
            needed = max(int((high - low).max()), 1)
            if needed == length:  # one window holds the whole map, so let all of them be the map
                data, starts = (
                    _laid_out(data, dim, starts, np.zeros_like(starts), length),
                    np.zeros_like(starts),
                )
            elif needed <= _WORTH_A_COPY * size:
                # A shorter window starts where its inner part does, but ends no later than the old one did.
                inner = np.minimum(low, starts + size - needed)
                data, starts = _laid_out(data, dim, starts, inner, needed), inner
            # What still reaches over an edge is cleared: -start cells before the map, the overhang behind it.
            for i in np.flatnonzero(starts < 0):
                data[i].narrow(dim - 1, 0, min(-int(starts[i]), data.shape[dim])).zero_()
            for i in np.flatnonzero(starts + data.shape[dim] > length):
                over = min(int(starts[i]) + data.shape[dim] - length, data.shape[dim])
                data[i].narrow(dim - 1, data.shape[dim] - over, over).zero_()
            axes.append((dim, starts))
        return replace(self, data=data, axes=tuple(axes))

    def whole(self, shape: Sequence[int]) -> Windows:
        """Return the signals on the whole of their maps."""
        data = self.data
        for dim, starts in self.axes:
            data = _laid_out(data, dim, starts, np.zeros_like(starts), shape[dim])
        return Windows(data, fresh=self.fresh)  # it may be a view of what others hold

    def along(self, dim: int, shape: Sequence[int]) -> Windows:
        """Return the signals with a whole map's length along a dimension; on whole maps if it has windows."""
        return self.whole(shape) if dim in [own for own, _ in self.axes] else self

    def on_axes(self, dims: Sequence[int]) -> Windows:
        """Return signals on whole maps as windows that are the map."""
        return replace(self, axes=tuple((dim, np.zeros(len(self.data), np.int64)) for dim in dims))

    def lies_as(self, other: Windows) -> bool:
        """Return whether the windows of two signals are the same."""
        return len(self.axes) == len(other.axes) and all(
            mine[0] == theirs[0]
            and self.data.shape[mine[0]] == other.data.shape[mine[0]]
            and np.array_equal(mine[1], theirs[1])
            for mine, theirs in zip(self.axes, other.axes, strict=True)
        )

    def plus(self, other: Windows, shape: Sequence[int]) -> Windows:
        """Return the sum of two signals in a map of that shape, on windows that hold both."""
        if [dim for dim, _ in self.axes] != [dim for dim, _ in other.axes]:
            return self.whole(shape).plus(other.whole(shape), shape)
        # The two lie differently to each other from unit to unit: first lay both out alike.
        if any(np.ptp(theirs[1] - mine[1]) for mine, theirs in zip(self.axes, other.axes, strict=True)):
            one, two = self._both_on_the_same(other)
            return one.plus(two, shape)
        # One offset for all units, so a slice of the union [first, last), in own cells, holds each of the two.
        first, last = [0] * self.data.dim(), list(self.data.shape)
        own, others = [slice(None)] * self.data.dim(), [slice(None)] * self.data.dim()
        for (dim, starts), (_, theirs) in zip(self.axes, other.axes, strict=True):
            offset = int(theirs[0] - starts[0])
            low, high = min(0, offset), max(self.data.shape[dim], offset + other.data.shape[dim])
            first[dim], last[dim] = low, high
            own[dim] = slice(-low, -low + self.data.shape[dim])
            others[dim] = slice(offset - low, offset - low + other.data.shape[dim])
        sizes = [high - low for low, high in zip(first, last, strict=True)]
        # Where one of them is the union already (a shortcut beside its branch), the other is added into it.
        for big, small, index in ((self, other, others), (other, self, own)):
            if list(big.data.shape) == sizes:
                total = big.data if big.fresh else big.data.clone()
                total[tuple(index)] += small.data
                return replace(big, data=total, fresh=True)
        total = in_order(self.data.new_zeros(sizes))
        total[tuple(own)] = self.data
        total[tuple(others)] += other.data
        axes = tuple((dim, starts + first[dim]) for dim, starts in self.axes)
        return Windows(total, axes)

    def _both_on_the_same(self, other: Windows) -> tuple[Windows, Windows]:
        """Return two signals on windows that hold both; what lies between them in the map differs by unit."""
        one, two, axes = self.data, other.data, []
        for (dim, starts), (_, theirs) in zip(self.axes, other.axes, strict=True):
            # (n,) each unit's union [low, high); one size for all of them, so that they still stack.
            low = np.minimum(starts, theirs)
            high = np.maximum(starts + one.shape[dim], theirs + two.shape[dim])
            size = int((high - low).max())
            one, two = _laid_out(one, dim, starts, low, size), _laid_out(two, dim, theirs, low, size)
            axes.append((dim, low))
        return Windows(one, tuple(axes)), Windows(two, tuple(axes), fresh=False)

    def of(self, values: Tensor, image_of: Tensor | None) -> Tensor:
        """Return the values of a map (m, ...) that stand on the windows, (n, ...).

        Args:
            values: The map of each of m images.
            image_of: (n,) which of them each unit belongs to; None if each has its own, in their order.

        *Convention*: over an edge stands the value at the edge.
        """
        own = [dim for dim, _ in self.axes]
        if self.covers(values.shape):
            return values if image_of is None else values[image_of]
        # Indexed by image (n, 1, 1), rows (n, kh, 1) and cols (n, 1, kw), which broadcast to (n, kh, kw).
        images = torch.arange(len(values), device=values.device) if image_of is None else image_of
        index: list[Tensor] = [images.reshape(-1, 1, 1)]
        for i, (dim, starts) in enumerate(self.axes):
            # (n, k): the cells that each window covers; clipped, so that over an edge the edge is repeated.
            cells = (starts[:, None] + np.arange(self.data.shape[dim])).clip(0, values.shape[dim] - 1)
            index.append(torch.from_numpy(cells).to(values.device).unsqueeze(1 + (i == 0)))
        # (m, h, w, c): windowed axes behind the batch; indexed (n, kh, kw, c); moved back (n, c, kh, kw).
        return values.movedim(own, [1, 2])[index[0], index[1], index[2]].movedim([1, 2], own)


def in_order(data: Tensor) -> Tensor:
    """Return maps (n, c, h, w) with their channels last in memory, as convolutions are fastest; others as they are."""
    return data.contiguous(memory_format=torch.channels_last) if data.dim() == 4 else data


def _laid_out(data: Tensor, dim: int, starts: Starts, onto: Starts, length: int) -> Tensor:
    """Return the data of windows on other windows, which begin at `onto` and have that length; zero elsewhere."""
    size, ahead = (
        data.shape[dim],
        starts - onto,
    )  # ahead: where the old window begins, counted from the new one
    # All new windows lie alike inside the old ones: a view does.
    if not np.ptp(ahead) and ahead[0] <= 0 and ahead[0] + size >= length:
        return data.narrow(dim, -int(ahead[0]), length)
    shape = list(data.shape)
    shape[dim] = length
    out = in_order(data.new_zeros(shape))
    for i, first in enumerate(map(int, ahead)):  # data[i] has no batch dimension, hence dim - 1
        low, high = max(first, 0), min(first + size, length)
        if low < high:
            out[i].narrow(dim - 1, low, high - low).copy_(data[i].narrow(dim - 1, low - first, high - low))
    return out
