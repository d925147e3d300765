"""Projection: one activation, all others zero, run back to the pixels.

*Source*: Zeiler & Fergus (2013), section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError
from backlight.network import Images, Layer, Network
from backlight.projection.crops import crops_of
from backlight.projection.units import Unit, check_unit, strongest_units
from backlight.rules import DECONVNET, RuleSet, apply_rules

_MOST_CROPS_AN_IMAGE = 16


@dataclass(frozen=True, eq=False)
class Projections:
    """Projections of units of one layer, each on the crop of the input that its unit needs.

    Attributes:
        values: (n,) the activations.
        signals: (n, c, h, w) the projections on the crops, in the scale of the network's input; zero elsewhere.
        corners: Row and column of each crop's first pixel in the input.
    """

    values: Tensor
    signals: Float[Tensor, "n c h w"]
    corners: tuple[tuple[int, int], ...]


class Projector:
    """Projects units of one layer, a batch at a time, on no more of the input than they need.

    Args:
        net: The captured network.
        layer: The layer.
        rules: How a signal goes down.

    Raises:
        UnsupportedOperatorError: No rule for an operator between the layer and the pixels.
    """

    def __init__(self, net: Network, layer: Layer, rules: RuleSet = DECONVNET) -> None:
        self.layer = layer
        # Where the last window wins, one outside the crop may win a place inside, with nothing.
        self.crops = None if rules.unpool == "assign-last" else crops_of(net, layer)
        self._module = apply_rules(net, [layer], rules)
        self._home = net.device, net.dtype
        self._image_area = net.input_shape[1] * net.input_shape[2]

    def batch_size(self, n_images: int) -> int:
        """Return how many units to project at once for the memory of n whole images."""
        if self.crops is None:
            return n_images
        return min(n_images * self._image_area // self.crops.area, n_images * _MOST_CROPS_AN_IMAGE)

    def __call__(
        self, images: Sequence[Float[Tensor, "c h w"]] | Tensor, units: Sequence[Unit]
    ) -> Projections:
        """Return the activation and the projection of one unit in each image.

        Args:
            images: Inputs (c, h, w), on any device; only their crops go to the network's.
            units: One unit an image, of this layer.
        """
        corners, places = zip(*(self._place(unit) for unit in units), strict=True)
        device, dtype = self._home
        with torch.inference_mode(False), torch.enable_grad():  # whatever the user has turned off around it
            batch = torch.stack([self._cut(image, at) for image, at in zip(images, corners, strict=True)])
            x = batch.detach().to(device, dtype).requires_grad_()
            (out,) = self._module(x)
            index = (torch.arange(len(x), device=device), *torch.tensor(places, device=device).unbind(1))
            values = out.detach()[index]
            seed = torch.zeros_like(out)
            seed[index] = values
            (signals,) = torch.autograd.grad(out, x, seed)
        return Projections(values, signals, corners)

    def _place(self, unit: Unit) -> tuple[tuple[int, int], tuple[int, ...]]:
        """Return the first pixel of a unit's crop, and the unit's channel, row and column in it."""
        if unit.row is None or unit.col is None:
            return (0, 0), (unit.channel,)
        if self.crops is None:
            return (0, 0), (unit.channel, unit.row, unit.col)
        rows, cols = self.crops.rows, self.crops.cols
        corner = rows.start(unit.row), cols.start(unit.col)
        return corner, (unit.channel, rows.inside(unit.row), cols.inside(unit.col))

    def _cut(self, image: Tensor, corner: tuple[int, int]) -> Tensor:
        if self.crops is None:
            return image
        (top, left), height, width = corner, self.crops.rows.size, self.crops.cols.size
        return image[..., top : top + height, left : left + width]


def project(
    net: Network, images: Images, units: Sequence[Unit], rules: RuleSet = DECONVNET, batch_size: int = 32
) -> Float[Tensor, "n c h w"]:
    """Return the projection of one unit in each image: its activation, all others zero, run back to the pixels.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or pictures as `Network.prepare` takes them. One image serves all units.
        units: One unit an image; each is seeded with its own activation there.
        rules: How a signal goes down; DECONVNET, GUIDED, GRADIENT or your own.
        batch_size: How many whole images are projected at once; more where small crops of them are enough.

    Returns:
        (n, c, h, w) in the scale of the network's input: signed, zero where nothing arrives.

    Raises:
        BadInputError: An unknown layer, a unit out of range, numbers of images and units that differ, a
            batch_size below 1.
        UnsupportedOperatorError: No rule for an operator on the way.

    *Convention*: the mean and standard deviation of the preprocessing are not undone: the projection is a
    pattern, not a picture, and its zero is grey.

    Example:
        >>> import torch, torchvision, backlight
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 64, 64))
        >>> images = torch.rand(2, 3, 64, 64)
        >>> units = backlight.strongest(net, images, "features.3.cat", channel=5)
        >>> backlight.project(net, images, units).shape
        torch.Size([2, 3, 64, 64])
    """
    if batch_size < 1:
        raise BadInputError(f"batch_size is a number of images, at least 1, but came {batch_size}")
    batch = net.prepare(images)
    if len(batch) == 1 and len(units) > 1:
        batch = batch.expand(len(units), -1, -1, -1)
    if len(batch) != len(units):
        raise BadInputError(
            f"one unit an image is projected, but came {len(batch)} images and {len(units)} units"
        )
    layers = [net.layer(unit.layer) for unit in units]
    for layer, unit in zip(layers, units, strict=True):
        check_unit(layer, unit)
    result = torch.zeros_like(batch)
    for layer in dict.fromkeys(layers):
        projector = Projector(net, layer, rules)
        members = [i for i, own in enumerate(layers) if own == layer]
        step = projector.batch_size(batch_size)
        for start in range(0, len(members), step):
            chosen = members[start : start + step]
            found = projector(batch[chosen], [units[i] for i in chosen])
            for i, signal, (top, left) in zip(chosen, found.signals, found.corners, strict=True):
                result[i, :, top : top + signal.shape[1], left : left + signal.shape[2]] = signal
    return result


def superpose(
    net: Network,
    image: Images,
    layer: str,
    top: int = 3,
    channel: int | None = None,
    rules: RuleSet = DECONVNET,
) -> Float[Tensor, "c h w"]:
    """Return the sum of the projections of the strongest units of one image, each projected by itself.

    Args:
        net: The captured network.
        image: One image, as `Network.prepare` takes it.
        layer: The layer's name.
        top: How many units.
        channel: Take the strongest positions of this feature map only; None takes the strongest maps of the
            layer, each by its strongest unit.
        rules: How a signal goes down.

    Returns:
        (c, h, w) in the scale of the network's input.

    Raises:
        BadInputError: An unknown layer, a channel out of range, several images.

    *Convention*: projected one by one and then added; the deconvnet is not additive, so projecting the units
    together would give another picture (ReLU is not linear).

    Example:
        >>> import backlight
        >>> net = backlight.capture(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()), (3, 8, 8))
        >>> backlight.superpose(net, torch.rand(3, 8, 8), "1", top=2).shape
        torch.Size([3, 8, 8])
    """
    batch = net.prepare(image)
    if len(batch) != 1:
        raise BadInputError(f"units of one image are superposed, but came {len(batch)} images")
    units = strongest_units(net, batch, layer, top, channel)
    return project(net, batch, units, rules).sum(0)
