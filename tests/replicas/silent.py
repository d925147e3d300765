"""Networks with a silent circuit: a second path to a unit, which no image wakes and a search for its maximum finds.

*Source*: Geirhos et al. (2023), "Don't trust your eyes", section 2: filters whose bias keeps them silent on all images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import backlight
from backlight import Unit

SIDE, N_IMAGES, N_HITS = 16, 60, 9
_WIDTHS = (3, 8, 10, 6)


@dataclass(frozen=True, eq=False)
class Silent:
    """A unit's network with a silent circuit, and the same network in which nothing reads the circuit.

    Attributes:
        fooled: The network with the circuit.
        sound: The network without.
        images: (n, 3, h, w) inputs, none of which wakes the circuit.
        unit: The unit that both paths lead to; it is in the middle.
        level: The level at which the circuit begins, from 0.
        channel: The circuit's map in every level below the unit's that it passes.
    """

    fooled: backlight.Network
    sound: backlight.Network
    images: Tensor
    unit: Unit
    level: int
    channel: int

    @cached_property
    def hits(self) -> tuple[Tensor, list[Unit]]:
        """The nine images that excite the unit's map most, and its strongest unit in each."""
        units = backlight.strongest(self.sound, self.images, self.unit.layer, self.unit.channel)
        with torch.no_grad():
            maps = self.sound.features([self.unit.layer])(self.images)[0][:, self.unit.channel]
        best = maps.flatten(1).amax(1).argsort(descending=True, stable=True)[:N_HITS].tolist()
        return self.images[best], [units[i] for i in best]


def plant(seed: int) -> Silent:
    """Return a random network of three levels whose maps 0 are the circuit's, and images that leave them silent."""
    generator = torch.Generator().manual_seed(seed)
    level, unit = seed % 2, int(torch.randint(0, _WIDTHS[-1], (1,), generator=generator))
    images = _smooth(generator)
    convs = [nn.Conv2d(m + (i > 0), n + (i < 2), 3, padding=1) for i, (m, n) in enumerate(pairwise(_WIDTHS))]
    for conv in convs:
        fan_in = conv.weight[0].numel()
        with torch.no_grad():
            conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
            assert conv.bias is not None
            conv.bias.copy_(torch.randn(conv.bias.shape, generator=generator) * 0.1)
    _silence(convs, level, unit, images, generator)
    return Silent(
        _captured(convs),
        _captured([*convs[:2], _unread(convs[2])]),
        images,
        Unit("5", unit, SIDE // 2, SIDE // 2),
        level,
        0,
    )


def _silence(
    convs: list[nn.Conv2d], level: int, unit: int, images: Tensor, generator: torch.Generator
) -> None:
    """Set the maps 0 below the unit to a circuit that begins at a level, and let the unit read it."""
    with torch.no_grad():
        for conv in convs[1:]:
            conv.weight[:, 0] = 0.0  # nothing reads the circuit yet
        maps = images
        for conv in convs[:level]:
            maps = F.relu(conv(maps))
        first = convs[level]
        # Half of it is what raises the unit anyway, so that the search comes across it; half is anything else.
        liked = first.weight[1:][_raises(convs, level, unit, images)]
        other = torch.randn(liked.shape, generator=generator)
        if level:
            other[0] = 0.0
        first.weight[0] = liked / liked.norm() + other / other.norm()
        assert first.bias is not None
        first.bias[0] = 0.0
        largest = float(first(maps)[:, 0].max())
        first.bias[0] = -1.05 * largest
        for i, conv in enumerate(convs[level + 1 :], level + 1):
            read = unit if i == 2 else 0
            if i < 2:
                conv.weight[0] = 0.0
                conv.bias[0] = 0.0
            conv.weight[read, 0] = 1.0
        for conv in convs[:level]:
            conv.weight[0] = 0.0
            conv.bias[0] = 0.0
        reached = float(_run(convs, images)[:, unit].max())
        convs[2].weight[unit, 0] = 5 * max(reached, 0.1) / largest


def _raises(convs: list[nn.Conv2d], level: int, unit: int, images: Tensor) -> int:
    """Return the map of a level, without the circuit's, whose activation raises the unit most."""
    with torch.no_grad():
        maps = images
        for conv in convs[: level + 1]:
            maps = F.relu(conv(maps))
    with torch.enable_grad():
        maps.requires_grad_()
        rest = maps
        for conv in convs[level + 1 :]:
            rest = F.relu(conv(rest))
        (slope,) = torch.autograd.grad(rest[:, unit].sum(), maps)
    return int((slope * maps).sum((0, 2, 3))[1:].argmax())


def _run(convs: list[nn.Conv2d], images: Tensor) -> Tensor:
    for conv in convs:
        images = F.relu(conv(images))
    return images


def _unread(conv: nn.Conv2d) -> nn.Conv2d:
    made = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
    made.load_state_dict(conv.state_dict())
    with torch.no_grad():
        made.weight[:, 0] = 0.0
    return made


def _captured(convs: list[nn.Conv2d]) -> backlight.Network:
    levels = [part for conv in convs for part in (conv, nn.ReLU())]
    return backlight.capture(nn.Sequential(*levels), (3, SIDE, SIDE))


def _smooth(generator: torch.Generator) -> Tensor:
    """Return smooth inputs of little contrast: a search finds pictures of more, as it does beside photographs."""
    coarse = torch.rand(N_IMAGES, 3, 6, 6, generator=generator) - 0.5
    return F.interpolate(coarse, (SIDE, SIDE), mode="bicubic")
