"""Projection: one activation, all others zero, run back to the pixels.

*Source*: Zeiler & Fergus (2013), section 2.1; METHODS.md 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError
from backlight.network import Images, Layer, Network
from backlight.projection.units import Unit, check_unit, strongest_units
from backlight.rules import DECONVNET, RuleSet, apply_rules


class Projector:
    """Projects units of one layer, a batch at a time.

    Args:
        net: The captured network.
        layer: The layer.
        rules: How a signal goes down.

    Raises:
        UnsupportedOperatorError: No rule for an operator between the layer and the pixels.
    """

    def __init__(self, net: Network, layer: Layer, rules: RuleSet = DECONVNET) -> None:
        self.layer = layer
        self._module = apply_rules(net, [layer], rules)

    def __call__(
        self, batch: Float[Tensor, "n c h w"], places: Tensor
    ) -> tuple[Tensor, Float[Tensor, "n c h w"]]:
        """Return the activations (n,) of one unit a sample, and their projections (n, c, h, w).

        Args:
            batch: Inputs on the network's device.
            places: (n, 3) whole numbers channel, row, col, or (n, 1) channels for a fully connected layer.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x = batch.detach().clone().requires_grad_()  # a clone: an inference tensor takes no gradient
            (out,) = self._module(x)
            index = (torch.arange(len(x), device=x.device), *places.to(x.device).unbind(1))
            values = out.detach()[index]
            seed = torch.zeros_like(out)
            seed[index] = values
            (signal,) = torch.autograd.grad(out, x, seed)
        return values, signal


def project(
    net: Network, images: Images, units: Sequence[Unit], rules: RuleSet = DECONVNET, batch_size: int = 32
) -> Float[Tensor, "n c h w"]:
    """Return the projection of one unit in each image: its activation, all others zero, run back to the pixels.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or pictures as `Network.prepare` takes them. One image serves all units.
        units: One unit an image; each is seeded with its own activation there.
        rules: How a signal goes down; DECONVNET, GUIDED, GRADIENT or your own.
        batch_size: How many are projected at once.

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
        for start in range(0, len(members), batch_size):
            chosen = members[start : start + batch_size]
            result[chosen] = projector(batch[chosen], places_of([units[i] for i in chosen]))[1]
    return result


def places_of(units: Sequence[Unit]) -> Tensor:
    """Return the places (n, 3), or (n, 1) without rows and columns, of units of one layer."""
    return torch.tensor(
        [[u.channel] if u.row is None or u.col is None else [u.channel, u.row, u.col] for u in units]
    )


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
    together would give another picture (METHODS.md 1.1).
    """
    batch = net.prepare(image)
    if len(batch) != 1:
        raise BadInputError(f"units of one image are superposed, but came {len(batch)} images")
    units = strongest_units(net, batch, layer, top, channel)
    return project(net, batch, units, rules).sum(0)
