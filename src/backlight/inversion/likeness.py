"""Likeness: does a maximised picture excite its unit in the way that the unit's natural hits do?

A network can be changed so that its maximised pictures show anything while it behaves as before on images: by a circuit
that no image wakes, and that the search finds. Its maps are silent in every natural hit. So, layer by layer below the
unit, the maps that are silent in all hits are held at what they reach there; what the unit then loses, these maps
carried.

*Source*: Geirhos et al. (2023), "Don't trust your eyes: on the (un)reliability of feature visualizations", who compare
the paths of activations of maximised and natural images by rank correlation, layer by layer. *Differs*: a sound
maximised picture is unlike any photograph in every correlation, since it excites all maps much more. What it shares
with the hits is which maps carry the unit, so that is compared, and measured on the unit itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.network import Layer, Network
from backlight.network.cut import ancestors
from backlight.projection import Unit, check_unit
from backlight.storage.tiles import tile_box

SILENT = 0.01
"""A map is silent in a hit if it stays below this share of what it reaches in the maximised picture."""
LEAST_HITS = 3
"""With fewer hits too many maps are silent in all of them."""
UNLIKE = 0.5
"""A picture is unlike all hits where silent maps carry this share of the unit (measured in docs/inversion.md)."""


@dataclass(frozen=True)
class LayerLikeness:
    """What the maps of one layer that are silent in all hits do in the maximised picture.

    Attributes:
        layer: The layer's name.
        silent: These maps, if they are active in the picture.
        carried: Share of the unit's activation that is lost if they are held at what they reach in the hits; 0 for
            nothing, 1 for all of it and more.
    """

    layer: str
    silent: tuple[int, ...]
    carried: float


@dataclass(frozen=True)
class Likeness:
    """How a maximised picture excites its unit, compared with the unit's natural hits.

    Attributes:
        unit: The unit.
        n_hits: Number of hits.
        value: The unit's activation in the picture.
        layers: The layers below the unit, first to last.
    """

    unit: Unit
    n_hits: int
    value: float
    layers: tuple[LayerLikeness, ...]

    @property
    def least(self) -> LayerLikeness | None:
        """The layer whose silent maps carry most; None where there is no layer below."""
        return max(self.layers, key=lambda own: own.carried, default=None)

    @property
    def is_unlike(self) -> bool:
        """Whether maps that are silent in every hit carry half of the unit or more, in any layer."""
        return self.least is not None and self.least.carried >= UNLIKE


def likeness_of(
    net: Network,
    picture: Float[Tensor, "c h w"],
    unit: Unit,
    hits: Float[Tensor, "n c h w"],
    hit_units: Sequence[Unit],
) -> Likeness:
    """Return how a maximised picture excites its unit, compared with natural hits of the same map.

    Args:
        net: The captured network.
        picture: The maximised picture, as an input.
        unit: The unit in it.
        hits: Inputs of at least three natural hits, better nine.
        hit_units: The unit of the same map in each.

    Raises:
        BadInputError: Too few hits, not one unit for each, a unit out of range or of another map; the picture does
            not excite the unit.

    Example:
        >>> import torch, backlight
        >>> from torch import nn
        >>> body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Softplus())
        >>> net = backlight.capture(body, (1, 8, 8))
        >>> images = torch.rand(4, 1, 8, 8)
        >>> units = backlight.strongest(net, images, "3", channel=1)
        >>> likeness_of(net, 2 * images[0], units[0], images[1:], units[1:]).n_hits
        3
    """
    units = [unit, *hit_units]
    if len(hits) != len(hit_units) or len(hits) < LEAST_HITS:
        raise BadInputError(
            f"a picture is compared with at least {LEAST_HITS} hits, one unit in each, got {len(hits)} hits and "
            f"{len(hit_units)} units"
        )
    top = net.layer(unit.layer)
    for own in units:
        check_unit(net.layer(own.layer), own)
    if any(net.layer(own.layer) != top or own.channel != unit.channel for own in hit_units):
        raise BadInputError(
            f"the hits are those of another map than map {unit.channel} of layer {top.name!r}"
        )
    below = layers_below(net, top)
    images = torch.cat([picture[None], hits]).to(net.device, net.dtype)
    with torch.no_grad():
        value = _value(net.features([top])(images[:1])[0], unit)
        if not value > 0:
            raise BadInputError(f"the picture does not excite map {unit.channel} of layer {top.name!r}")
        found = net.features(below)(images) if below else ()
        fields = [tile_box(top.receptive_field, own.row, own.col, net.input_shape[1:]) for own in units]  # type: ignore[arg-type]
        layers = []
        for layer, maps in zip(below, found, strict=True):
            # (1 + n, c): the largest activation of each map in the unit's field, in the picture and in each hit
            peaks = torch.stack([_peaks(own, layer, field) for own, field in zip(maps, fields, strict=True)])
            limits = peaks[1:].amax(0)
            silent = (peaks[0] > 0) & (limits <= SILENT * peaks[0])
            limits = torch.where(silent, limits, torch.inf)
            left = (
                _value(_Limited(net, layer, limits).run_to(top, images[:1]), unit) if silent.any() else value
            )
            layers.append(
                LayerLikeness(layer.name, tuple(silent.nonzero().flatten().tolist()), _share(value, left))
            )
    return Likeness(unit, len(hits), value, tuple(layers))


def layers_below(net: Network, top: Layer) -> list[Layer]:
    """Return the rectified maps and other default layers that a layer is computed from."""
    needed = ancestors([net.node(top)]) - {net.node(top)}
    return [layer for layer in net.default_layers if net.node(layer) in needed]


def _value(maps: Tensor, unit: Unit) -> float:
    return float(maps[0, unit.channel] if unit.row is None else maps[0, unit.channel, unit.row, unit.col])


def _share(value: float, left: float) -> float:
    return min(max(1 - left / value, 0.0), 1.0)


def _peaks(maps: Tensor, layer: Layer, field: Box) -> Tensor:
    """Return (c,) the largest activation of each map (c, h, w) among the cells that see nothing outside a field.

    These are the cells that the unit of that field can read. Where a layer has no field of its own, all count.
    """
    own = layer.receptive_field
    if own is None or own.is_whole:
        return maps.flatten(1).amax(1)
    height, width = maps.shape[1:]
    rows = [i for i in range(height) if _lies_in(own.rows.span(i), (field.top, field.bottom))]
    cols = [j for j in range(width) if _lies_in(own.cols.span(j), (field.left, field.right))]
    if not rows or not cols:
        return maps.flatten(1).amax(1)
    return maps[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].flatten(1).amax(1)


def _lies_in(span: tuple[int, int], field: tuple[int, int]) -> bool:
    return field[0] <= span[0] and span[1] <= field[1]


class _Limited(fx.Interpreter):
    """Runs a network with the maps of one layer held at limits.

    Args:
        net: The captured network.
        layer: The layer.
        limits: (c,) the largest value of each of its maps.
    """

    def __init__(self, net: Network, layer: Layer, limits: Tensor) -> None:
        super().__init__(net.module)
        self._net, self._node = net, net.node(layer)
        # the axis of the channels in the node's own order
        shape = [1] * len(layer.order)
        shape[layer.order[1]] = -1
        self._limits = limits.view(shape)

    def run_to(self, top: Layer, images: Tensor) -> Tensor:
        """Return the activations of a layer, (n, c, h, w) or (n, c)."""
        self._top, self._found = self._net.node(top), torch.empty(0)
        self.run(images)
        return self._found.permute(top.order)

    def run_node(self, n: fx.Node) -> Any:
        """Return what a node gives, limited in the layer."""
        value = super().run_node(n)
        if n is self._node:
            value = torch.minimum(value, self._limits)
        if n is self._top:
            self._found = value
        return value
