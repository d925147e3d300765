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
from backlight.network import Images, Layer, Network
from backlight.operators.ruleset import DECONVNET, RuleSet, as_rules
from backlight.projection.crops import paying_crops
from backlight.projection.pictures import Made, Projection
from backlight.projection.projector import Projector
from backlight.projection.units import Seed, Together, Unit, Units, check_unit, strongest_units


@overload
def project(
    net: Network,
    images: Images,
    units: Together | Sequence[Together | Sequence[Unit]],
    rules: RuleSet | str = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: Literal[False] = False,
) -> Projection: ...


@overload
def project(
    net: Network,
    images: Images,
    units: Together | Sequence[Together | Sequence[Unit]],
    rules: RuleSet | str = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: Literal[True],
) -> tuple[Projection, Float[Tensor, " n"]]: ...


def project(
    net: Network,
    images: Images,
    units: Together | Sequence[Together | Sequence[Unit]],
    rules: RuleSet | str = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: bool = False,
) -> Projection | tuple[Projection, Tensor]:
    """Return the projection of one unit in each image: its activation, all others zero, run back to the pixels.

    Or of several units at once, which send their seeds back together: a sum `a + b`, or a list of lists.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or pictures as `Network.prepare` takes them. One image serves all units.
        units: One unit an image; or a single `Unit`, which is projected in every image. In the place of a unit stands a
            sum of units (`Units`), or a list of them, of one layer or of several, for one picture of all.
        rules: How a signal is passed back; DECONVNET, GUIDED, GRADIENT or your own, or as a text, `"guided"`.
        batch_size: How many units are projected at once.
        seed: What is sent back from each unit: `"activation"`, its own in its image; a number; or (n,) numbers, of
            which every unit of a sum gets its picture's.
        return_activations: Whether to return the units' activations as well.

    Returns:
        (n, c, h, w) in the scale of the network's input: signed, zero where nothing arrives. A tensor to torch, a
        picture to a notebook (`Projection`). With `return_activations` a tuple of that and the activations, (n,), of
        units together their sum.

    Raises:
        BadInputError: An unknown layer, a unit out of range, numbers of images and units that differ, a
            batch_size below 1, a seed that is no finite number or not one for each unit.
        UnsupportedOperatorError: No rule for an operator between the units and the pixels.

    *Convention*: the mean and standard deviation of the preprocessing are not undone: the projection is a
    pattern, not a picture, and its zero is grey.

    *Convention*: a negative activation is sent back with its sign, so that the picture shows what lowers the unit;
    `seed=1` shows what raises it, whatever its activation. Without a seed, the picture of a unit at zero is empty.

    *Convention*: the picture of several units is not the sum of their own. Signals are added where they meet, and
    rectified afterwards, so that one may cancel the other; under the gradient, which rectifies nothing, it is the sum.

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
        >>> both = one + backlight.Unit("features.3.cat", 7, 2, 4)
        >>> backlight.project(net, images, both).units == (both, both)
        True
    """
    if batch_size < 1:
        raise BadInputError(f"batch_size is a number of images, at least 1, got {batch_size}")
    rules = as_rules(rules)
    batch = net.prepare(images)
    groups = [units] * len(batch) if isinstance(units, Unit | Units) else [_together(own) for own in units]
    is_one = len(batch) == 1 and len(groups) > 1
    if len(batch) != len(groups) and not is_one:
        raise BadInputError(
            f"one unit is projected in each image, got {len(batch)} images and {len(groups)} units; "
            "give as many of both, one image, or a single Unit"
        )
    groups = [_checked(net, own) for own in groups]
    seeds = _seeds(seed, len(groups))
    result = torch.zeros(len(groups), *net.input_shape, device=net.device, dtype=net.dtype)
    values = torch.zeros(len(groups), device=net.device, dtype=net.dtype)
    box = Box(0, 0, *net.input_shape[1:])
    kinds = [_kind(own) for own in groups]
    for kind in dict.fromkeys(kinds):
        members = [i for i, own in enumerate(kinds) if own == kind]
        layers, at_one_place = [net.layer(name) for name in kind[0]], kind[1]
        n_images = 1 if is_one else len(members)
        crops = paying_crops(net, layers[0], rules, len(members), n_images) if at_one_place else None
        projector = Projector(net, layers, rules, crops)
        for start in range(0, len(members), batch_size):
            chosen = members[start : start + batch_size]
            owners = [0 if is_one else i for i in chosen]
            own = None if seeds is None else seeds[chosen]
            found = projector(batch, [groups[i] for i in chosen], owners, own)
            values[chosen] = found.values.to(values)
            for at, i in enumerate(chosen):
                result[i] = found.on(at, box)
    made = Made(net.name, rules.name, tuple(groups), values, batch, net.preprocessing, seed)
    pictures = Projection.of(result, made)
    return (pictures, values) if return_activations else pictures


def _together(units: Together | Sequence[Unit]) -> Together:
    """Return what one picture shows, of a list the sum."""
    return units if isinstance(units, Unit | Units) else Units(tuple(units))


def _checked(net: Network, units: Together) -> Together:
    """Return units with the names that their layers have; raise BadInputError unless the network has them."""
    found = []
    for unit in units.members:
        layer = net.layer(unit.layer)
        check_unit(layer, unit)
        found.append(replace(unit, layer=layer.name))
    return found[0] if isinstance(units, Unit) else Units(tuple(found))


def _kind(units: Together) -> tuple[tuple[str, ...], bool]:
    """Return the layers of units, and whether they lie at one place of one, so that a crop can hold all of them."""
    layers = tuple(dict.fromkeys(unit.layer for unit in units.members))
    return layers, len({(unit.layer, unit.row, unit.col) for unit in units.members}) == 1


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
    layer: str | Layer,
    top: int = 3,
    channel: int | None = None,
    rules: RuleSet | str = DECONVNET,
    *,
    seed: Seed = "activation",
) -> Projection:
    """Return the sum of the projections of the strongest units of one image, each projected by itself.

    Args:
        net: The captured network.
        image: One image, as `Network.prepare` takes it.
        layer: The layer's name, or itself.
        top: How many units.
        channel: Take the strongest positions of this feature map only; None takes the strongest maps of the
            layer, each by its strongest unit.
        rules: How a signal is passed back, as for `project`.
        seed: What is sent back from each unit, as for `project`; several numbers go to the units strongest first.

    Returns:
        (c, h, w) in the scale of the network's input; a tensor to torch, a picture to a notebook (`Projection`).

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
    found = project(net, batch, units, rules, seed=seed)
    return Projection.of(found.sum(0), found.made)
