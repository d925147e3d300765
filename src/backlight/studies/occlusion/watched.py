"""Choosing what an occlusion study watches: a feature map, one of its units, and a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backlight.network import Layer, Network
from backlight.network.class_output import ClassOutput
from backlight.projection import Unit
from backlight.projection.units import check_channel, check_unit
from backlight.studies.classes import check_classes
from backlight.studies.occlusion.result import OcclusionConfig, Watched
from backlight.studies.occlusion.sweeps import SquareSweep, map_sum
from backlight.studies.shown import view


def check_watched(layer: Layer, config: OcclusionConfig) -> None:
    """Raise BadInputError unless the layer has the map or unit asked for."""
    if config.channel is not None:
        check_channel(layer, config.channel)
        if config.row is not None:
            check_unit(layer, Unit(layer.name, config.channel, config.row, config.col))


def choose_watched(
    net: Network,
    layer: Layer,
    sweep: SquareSweep,
    config: OcclusionConfig,
    chosen: ClassOutput,
    among: Sequence[int],
) -> Watched:
    """Return what is watched: what is asked for, or the strongest map and unit and the most probable class.

    Args:
        net: The captured network.
        layer: The layer of the map.
        sweep: Has run the uncovered image.
        config: What is asked for.
        chosen: The output that the class is read from.
        among: The feature maps of which one is taken where none is asked for.

    Raises:
        BadInputError: A class that the network does not have, or too few or too many class names.

    *Convention*: of equally strong ones the first is taken, units in raster order.
    """
    maps, channel, stronger = sweep.maps, config.channel, None
    if channel is None:
        peaks = maps.reshape(len(maps), -1).max(1)  # (c,) the strongest unit of each map
        first = int(peaks.argmax())
        channel = first if first in among else max(sorted(among), key=lambda own: peaks[own])
        stronger = None if channel == first else first
    unit = Unit(layer.name, channel, config.row, config.col)
    if layer.is_spatial and config.row is None:
        unit = Unit(layer.name, channel, *divmod(int(maps[channel].argmax()), maps.shape[2]))
    place = () if unit.row is None else (unit.row, unit.col)
    value = float(maps[channel, *place])
    total = float(map_sum(maps[channel])) if place else value
    given = None if config.class_index is None else [config.class_index]
    check_classes(net.name, chosen, 1, given, config.class_names)
    found = _class(sweep.probabilities, config.class_index)
    return Watched(unit, view(net, layer, unit), total, value, *found, chosen.name, stronger)


def _class(
    probabilities: NDArray[np.float64] | None, index: int | None
) -> tuple[int | None, float | None, int | None]:
    """Return the class that is followed, its probability, and the most probable class."""
    if probabilities is None:
        return None, None, None
    label = int(probabilities.argmax())
    index = label if index is None else index
    return index, float(probabilities[index]), label
