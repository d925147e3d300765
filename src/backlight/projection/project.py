"""Projection: one activation, all others zero, run back to the pixels.

*Source*: Zeiler & Fergus (2013), section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.network import Images, Network
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.projection.crops import paying_crops
from backlight.projection.projector import Projector
from backlight.projection.units import Unit, check_unit, strongest_units

Seed = int | float | Tensor | Literal["activation"]
"""What is sent back from a unit: its own activation, a number, or (n,) a number for each unit."""


@overload
def project(
    net: Network,
    images: Images,
    units: Unit | Sequence[Unit],
    rules: RuleSet = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: Literal[False] = False,
) -> Float[Tensor, "n c h w"]: ...


@overload
def project(
    net: Network,
    images: Images,
    units: Unit | Sequence[Unit],
    rules: RuleSet = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: Literal[True],
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, " n"]]: ...


def project(
    net: Network,
    images: Images,
    units: Unit | Sequence[Unit],
    rules: RuleSet = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the projection of one unit in each image: its activation, all others zero, run back to the pixels.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or pictures as `Network.prepare` takes them. One image serves all units.
        units: One unit an image; or a single `Unit`, which is projected in every image.
        rules: How a signal is passed back; DECONVNET, GUIDED, GRADIENT or your own.
        batch_size: How many units are projected at once.
        seed: What is sent back from each unit: `"activation"`, its own in its image; a number; or (n,) numbers.
        return_activations: Whether to return the units' activations as well.

    Returns:
        (n, c, h, w) in the scale of the network's input: signed, zero where nothing arrives. With
        `return_activations` a tuple of that and the activations, (n,).

    Raises:
        BadInputError: An unknown layer, a unit out of range, numbers of images and units that differ, a
            batch_size below 1, a seed that is no finite number or not one for each unit.
        UnsupportedOperatorError: No rule for an operator between the units and the pixels.

    *Convention*: the mean and standard deviation of the preprocessing are not undone: the projection is a
    pattern, not a picture, and its zero is grey.

    *Convention*: a negative activation is sent back with its sign, so that the picture shows what lowers the unit;
    `seed=1` shows what raises it, whatever its activation. Without a seed, the picture of a unit at zero is empty.

    Example:
        >>> import torch, torchvision, backlight
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 64, 64))
        >>> images = torch.rand(2, 3, 64, 64)
        >>> units = backlight.strongest(net, images, "features.3.cat", channel=5)
        >>> backlight.project(net, images, units).shape
        torch.Size([2, 3, 64, 64])
        >>> one = backlight.Unit("features.3.cat", 5, 2, 3)
        >>> pictures, values = backlight.project(net, images, one, seed=1, return_activations=True)
        >>> values.shape
        torch.Size([2])
    """
    if batch_size < 1:
        raise BadInputError(f"batch_size is a number of images, at least 1, got {batch_size}")
    batch = net.prepare(images)
    units = [units] * len(batch) if isinstance(units, Unit) else list(units)
    is_one = len(batch) == 1 and len(units) > 1
    if len(batch) != len(units) and not is_one:
        raise BadInputError(
            f"one unit is projected in each image, got {len(batch)} images and {len(units)} units; "
            "give as many of both, one image, or a single Unit"
        )
    layers = [net.layer(unit.layer) for unit in units]
    for layer, unit in zip(layers, units, strict=True):
        check_unit(layer, unit)
    units = [replace(unit, layer=layer.name) for layer, unit in zip(layers, units, strict=True)]
    seeds = _seeds(seed, len(units))
    result = torch.zeros(len(units), *net.input_shape, device=net.device, dtype=net.dtype)
    values = torch.zeros(len(units), device=net.device, dtype=net.dtype)
    box = Box(0, 0, *net.input_shape[1:])
    for layer in dict.fromkeys(layers):
        members = [i for i, own in enumerate(layers) if own == layer]
        n_images = 1 if is_one else len(members)
        projector = Projector(net, [layer], rules, paying_crops(net, layer, rules, len(members), n_images))
        for start in range(0, len(members), batch_size):
            chosen = members[start : start + batch_size]
            owners = [0 if is_one else i for i in chosen]
            own = None if seeds is None else seeds[chosen]
            found = projector(batch, [units[i] for i in chosen], owners, own)
            values[chosen] = found.values.to(values)
            for at, i in enumerate(chosen):
                result[i] = found.on(at, box)
    return (result, values) if return_activations else result


def _seeds(seed: Seed, n_units: int) -> Tensor | None:
    """Return (n,) what is sent back from each unit; None for its own activation.

    Raises:
        BadInputError: The seed is another word, not finite, or not one number for each unit.
    """
    if isinstance(seed, str):
        if seed != "activation":
            raise BadInputError(f"seed is 'activation', a number, or one number for each unit, got {seed!r}")
        return None
    seeds = seed.detach() if isinstance(seed, Tensor) else torch.tensor(seed, dtype=torch.float64)
    if seeds.dim() and tuple(seeds.shape) != (n_units,):
        raise BadInputError(
            f"seed is one number, or a tensor of one for each of the {n_units} units, got shape {tuple(seeds.shape)}"
        )
    if seeds.is_complex() or not seeds.isfinite().all():
        raise BadInputError(f"a seed is a finite real number, got {seed}")
    return seeds.expand(n_units)


def superpose(
    net: Network,
    image: Images,
    layer: str,
    top: int = 3,
    channel: int | None = None,
    rules: RuleSet = DECONVNET,
    *,
    seed: Seed = "activation",
) -> Float[Tensor, "c h w"]:
    """Return the sum of the projections of the strongest units of one image, each projected by itself.

    Args:
        net: The captured network.
        image: One image, as `Network.prepare` takes it.
        layer: The layer's name.
        top: How many units.
        channel: Take the strongest positions of this feature map only; None takes the strongest maps of the
            layer, each by its strongest unit.
        rules: How a signal is passed back.
        seed: What is sent back from each unit, as for `project`; several numbers go to the units strongest first.

    Returns:
        (c, h, w) in the scale of the network's input.

    Raises:
        BadInputError: An unknown layer, a channel out of range, several images, a seed as for `project`.

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
        raise BadInputError(
            f"units of one image are superposed, got {len(batch)} images; superpose them one by one"
        )
    units = strongest_units(net, batch, layer, top, channel)
    return project(net, batch, units, rules, seed=seed).sum(0)
