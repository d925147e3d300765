"""Responses of single units to inputs that differ only inside the receptive field, run on just what the unit sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.geometry import Box
from backlight.network import Layer, Network
from backlight.network.fast import FastNetwork
from backlight.projection import MOST_IMAGES, Unit, crops_of

_MOST_CROPS = 512


class UnitResponses:
    """Activations of units of one layer, each computed on its crop of an input: equal to those on the whole input.

    Args:
        net: The captured network.
        layer: The layer of the units.
    """

    def __init__(self, net: Network, layer: Layer) -> None:
        self._size = net.input_shape[1:]
        self._crops = crops_of(net, layer)
        self._run = FastNetwork(net, [layer], any_size=self._crops is not None)
        area = self._crops.area if self._crops is not None else self._size[0] * self._size[1]
        self.batch_size = min(_MOST_CROPS, MOST_IMAGES * self._size[0] * self._size[1] // area)

    def window(self, unit: Unit) -> Box:
        """Return the part of the input that is run for a unit: it holds everything that the unit sees."""
        if self._crops is None or unit.row is None or unit.col is None:
            return Box(0, 0, *self._size)
        top, left = self._crops.rows.start(unit.row), self._crops.cols.start(unit.col)
        return Box(top, left, top + self._crops.rows.size, left + self._crops.cols.size)

    def __call__(self, inputs: Tensor, units: Sequence[Unit]) -> NDArray[np.float64]:
        """Return the activation of each unit in its input.

        Args:
            inputs: (n, c, h, w) the windows of n inputs.
            units: The unit of each input.
        """
        return self.around(inputs, units)[np.arange(len(units)), [unit.channel for unit in units]]

    def around(self, inputs: Tensor, units: Sequence[Unit]) -> NDArray[np.float64]:
        """Return the activations of all maps at the places of units, (n, maps), each in its input."""
        found = []
        for start in range(0, len(units), self.batch_size):
            part = slice(start, start + self.batch_size)
            (maps,) = self._run(inputs[part])  # (n, maps, h, w), or (n, maps) of a fully connected layer
            if maps.dim() == 4:
                # of each input all maps at the place of its own unit: (n, maps)
                rows, cols = zip(*(self._place(unit) for unit in units[part]), strict=True)
                maps = maps[torch.arange(len(maps)), :, torch.tensor(rows), torch.tensor(cols)]
            found.append(maps.double().cpu().numpy())
        return np.concatenate(found)

    def _place(self, unit: Unit) -> tuple[int, int]:
        """Return the row and column of a unit in the feature map of its window."""
        assert unit.row is not None
        assert unit.col is not None
        if self._crops is None:
            return unit.row, unit.col
        return self._crops.rows.inside(unit.row), self._crops.cols.inside(unit.col)
