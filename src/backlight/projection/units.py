"""Units: single activations of a network, and the strongest of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError
from backlight.network import Images, Layer, Network
from backlight.text import counted


@dataclass(frozen=True)
class Unit:
    """One activation of one layer.

    Attributes:
        layer: The layer's name.
        channel: The feature map, from 0.
        row: Its row in the map, from 0 at the top; None for a fully connected unit.
        col: Its column in the map, from 0 at the left; None for a fully connected unit.
    """

    layer: str
    channel: int
    row: int | None = None
    col: int | None = None

    def __repr__(self) -> str:
        """Return it as it is written: `Unit('relu2', 3, 1, 2)`."""
        place = "" if self.row is None else f", {self.row}, {self.col}"
        return f"Unit({self.layer!r}, {self.channel}{place})"

    @property
    def members(self) -> tuple[Unit, ...]:
        """The unit itself, as `Units.members` gives those of a sum."""
        return (self,)

    def __add__(self, other: Unit | Units) -> Units:
        """Return the units that are projected together: `Unit("relu2", 3, 1, 1) + Unit("relu2", 7, 1, 2)`."""
        return Units((*self.members, *other.members))

    def __radd__(self, other: int) -> Unit:
        """Return the unit itself: `sum(units)` begins at 0."""
        return self if other == 0 else NotImplemented

    def __str__(self) -> str:
        """Return it in words: `relu2 channel 3, row 1, column 2`."""
        place = "" if self.row is None else f", row {self.row}, column {self.col}"
        return f"{self.layer} channel {self.channel}{place}"


@dataclass(frozen=True)
class Units:
    """Units that are projected together, in one picture: each sends its seed back at the same time.

    Up to the first rectifier below them the signals add up; from there on they share what rectifiers let through, so
    that the picture is not the sum of the units' own (`superpose` gives that).

    Attributes:
        members: The units, at least one, of one layer or of several.

    Raises:
        BadInputError: No unit.

    Example:
        >>> Unit("relu2", 3, 1, 1) + Unit("relu2", 7, 1, 2)
        Unit('relu2', 3, 1, 1) + Unit('relu2', 7, 1, 2)
    """

    members: tuple[Unit, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise BadInputError("units that are projected together are at least one, got none")

    def __add__(self, other: Unit | Units) -> Units:
        """Return all units of both."""
        return Units((*self.members, *other.members))

    def __radd__(self, other: int) -> Units:
        """Return the sum itself: `sum(units)` begins at 0."""
        return self if other == 0 else NotImplemented

    def __str__(self) -> str:
        """Return them in words."""
        if len(self.members) < 3:
            return " + ".join(map(str, self.members))
        layers = ", ".join(dict.fromkeys(unit.layer for unit in self.members))
        return f"{len(self.members)} units of {layers} together"

    def __repr__(self) -> str:
        """Return the sum as it is written."""
        return " + ".join(map(repr, self.members))


Together = Unit | Units
"""What one picture is the projection of: a unit, or a sum of units."""

Seed = int | float | Tensor | Literal["activation"]
"""What is sent back from a unit: its own activation, a number, or (n,) a number for each unit."""


def check_channel(layer: Layer, channel: int) -> None:
    """Raise BadInputError unless the layer has that feature map."""
    if not 0 <= channel < layer.n_maps:
        raise BadInputError(
            f"channel {channel} is out of range for layer {layer.name!r} ({counted(layer.n_maps, 'feature map')})",
            python="net.layers lists them",
            command="`backlight layers MODEL` lists them",
        )


def check_unit(layer: Layer, unit: Unit) -> None:
    """Raise BadInputError unless the layer has that unit."""
    check_channel(layer, unit.channel)
    if not layer.is_spatial:
        if unit.row is not None or unit.col is not None:
            raise BadInputError(
                f"layer {layer.name!r} has no rows and columns",
                python="leave row and col out",
                command="leave --row and --col out",
            )
        return
    height, width = layer.shape[1:]
    if unit.row is None or unit.col is None:
        raise BadInputError(
            f"a unit of layer {layer.name!r} needs a row and a column ({height}x{width})",
            python="strongest(net, images, layer, channel) finds the strongest of an image",
            command="leave --row and --col out to take the strongest",
        )
    if not (0 <= unit.row < height and 0 <= unit.col < width):
        raise BadInputError(
            f"row {unit.row}, column {unit.col} is out of range for layer {layer.name!r} ({height}x{width} units)"
        )


def strongest(net: Network, images: Images, layer: str | Layer, channel: int | None = None) -> list[Unit]:
    """Return the strongest unit of a feature map, or of the whole layer, in each image.

    Args:
        net: The captured network.
        images: A batch of inputs (n, c, h, w), or pictures as `Network.prepare` takes them.
        layer: The layer's name, or itself; `net.output` for the classes.
        channel: The feature map; None takes the layer's strongest unit, whatever its map.

    Returns:
        One unit an image, in their order.

    Raises:
        BadInputError: An unknown layer, a channel out of range, images that do not fit.

    *Convention*: of equal activations the first in raster order, of equal maps the first.

    Example:
        >>> import backlight
        >>> net = backlight.capture(torch.nn.Conv2d(3, 2, 1), (3, 4, 4))
        >>> [unit.channel for unit in backlight.strongest(net, torch.rand(3, 3, 4, 4), "conv2d", channel=1)]
        [1, 1, 1]
    """
    found = net.layer(layer)
    if channel is None:
        batch = net.prepare(images)
        return [strongest_units(net, image[None], layer, 1)[0] for image in batch]
    check_channel(found, channel)
    maps = activations(net, net.prepare(images), found)[:, channel]
    if not found.is_spatial:
        return [Unit(found.name, channel) for _ in range(len(maps))]
    return [Unit(found.name, channel, *divmod(int(i), maps.shape[-1])) for i in maps.flatten(1).argmax(1)]


def strongest_units(
    net: Network, image: Images, layer: str | Layer, top: int, channel: int | None = None
) -> list[Unit]:
    """Return the strongest units of one image in a layer, strongest first.

    *Convention*: over a whole layer each feature map counts by its strongest unit only, so that the units come
    from different maps; within one feature map (`channel`) they are its strongest positions.
    """
    found = net.layer(layer)
    if top < 1:
        raise BadInputError(f"top is the number of units to take, at least 1, got {top}")
    if channel is not None:
        check_channel(found, channel)
    maps = activations(net, net.prepare(image)[:1], found)[0]
    if channel is not None:
        if not found.is_spatial:
            return [Unit(found.name, channel)]
        places = maps[channel].flatten().argsort(descending=True, stable=True)[:top]
        return [Unit(found.name, channel, *divmod(int(i), maps.shape[-1])) for i in places]
    if not found.is_spatial:
        return [Unit(found.name, int(c)) for c in maps.argsort(descending=True, stable=True)[:top]]
    values, places = maps.flatten(1).max(1)
    channels = values.argsort(descending=True, stable=True)[:top]
    return [Unit(found.name, int(c), *divmod(int(places[c]), maps.shape[-1])) for c in channels]


def activations(net: Network, batch: Float[Tensor, "n c h w"], layer: Layer) -> Tensor:
    """Return a layer's activations for a batch, (n, c, h, w) or (n, c).

    Raises:
        BadInputError: The layer is a comparison: it holds true and false, of which none is strongest.
    """
    with torch.no_grad():
        found: Tensor = net.features([layer])(batch)[0]
    if found.dtype == torch.bool:
        raise BadInputError(
            f"layer {layer.name!r} holds true and false, not activations; choose the layer below it"
        )
    return found
