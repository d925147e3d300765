"""Seeing a step: the strongest unit of each sampled map over the images, its projection and its filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from backlight.engines.plan import choose_maps
from backlight.geometry import Box
from backlight.network import Layer, Network
from backlight.network.filters import FilterPlace, filter_place
from backlight.network.layers import Layers
from backlight.progress import Watching
from backlight.projection import Projector, Unit, check_rules, group_layers
from backlight.projection.reach import under_rules
from backlight.render import window_of
from backlight.scan import Scan, choose_layers
from backlight.storage.tiles import encode_projection, tile_box
from backlight.studies.evolution.followed import EvolutionConfig, FollowedLayer
from backlight.studies.evolution.images import FixedImages
from backlight.studies.evolution.steps import Step

_MOST_PIXELS = 112
"""The longer side of a kept projection: that of a tile on a page."""


@dataclass(frozen=True)
class Hit:
    """The strongest unit of a sampled map: of the layer at a place among those followed; its image's id, its value."""

    layer_index: int
    unit: Unit
    image_id: int
    value: float


@dataclass(frozen=True)
class Followed:
    """What is followed in a network.

    Attributes:
        layers: The layers, as the network knows them, under the rules of the configuration.
        records: The same as they are kept.
        places: For each sampled map of all layers where its filter is; None for none.
        config: The configuration.
    """

    layers: tuple[Layer, ...]
    records: tuple[FollowedLayer, ...]
    places: tuple[FilterPlace | None, ...]
    config: EvolutionConfig


def choose(net: Network, layers: Layers | None, config: EvolutionConfig) -> Followed:
    """Return what is followed in a network: the layers, and of each a random sample of its maps.

    Args:
        net: The captured network.
        layers: The layers; None takes the default ones.
        config: How many maps, and the seed of the sample, which depends on the layer's name too.

    Raises:
        UnknownLayerError: The network has no such layer.
        UnsupportedOperatorError: An operator between a layer and the pixels has no rule.
    """
    chosen = choose_layers(net, layers)
    check_rules(net, chosen, config.rules)
    records, places = [], []
    for layer in chosen:
        channels = choose_maps(layer, config.maps, config.seed)
        own = [filter_place(net, layer, channel) for channel in channels]
        shapes = tuple(() if place is None else tuple(place.read(net).shape) for place in own)
        records.append(
            FollowedLayer(layer.name, layer.n_maps, channels, _tile_shape(net, layer, config), shapes)
        )
        places += own
    return Followed(chosen, tuple(records), tuple(places), config)


def see(net: Network, followed: Followed, images: FixedImages, progress: Watching) -> Step:
    """Return what a network shows at a step.

    Args:
        net: The network, with the weights of the step.
        followed: What is followed in it.
        images: The images.
        progress: As for `scan`.

    Raises:
        ActivationError: An activation is not finite.
        BadInputError: None of the images can be read.

    *Convention*: of equal activations the one in the image of the lower id counts, then the upper, then the left one. A
    map whose largest activation is exactly zero is active in no image: it has no strongest one, and its projection is
    empty.
    """
    scanned = images.scan(net, followed.layers, progress)
    hits = [hit for i in range(len(followed.layers)) for hit in _hits(scanned, followed, images, i)]
    tiles, scales = _tiles(net, followed, images, hits)
    filters = [place.read(net).ravel() for place in followed.places if place is not None]
    rows_and_cols = [(hit.unit.row, hit.unit.col) for hit in hits]
    winners = [images.image_id(i) for layer in followed.layers for i in _winners(scanned, layer).tolist()]
    return Step(
        {str(hit.image_id): images.path(hit.image_id) for hit in hits if hit.image_id >= 0},
        tiles,
        {
            "image_ids": np.array([hit.image_id for hit in hits], np.int64),
            "values": np.array([hit.value for hit in hits], np.float32),
            "places": np.array([[-1 if at is None else at for at in own] for own in rows_and_cols], np.int32),
            "scales": np.array(scales, np.float32),
            "filters": np.concatenate([*filters, np.zeros(0, np.float32)]),
            "winners": np.array(winners, np.int64),
        },
    )


def _winners(scanned: Scan, layer: Layer) -> NDArray[np.int64]:
    """Return (c,) what the scan calls the strongest image of each map of a layer; -1 where none activates it."""
    top = scanned.layers[layer.name].hits
    return np.where(top.values[:, 0] == 0, -1, top.image_ids[:, 0])


def _hits(scanned: Scan, followed: Followed, images: FixedImages, index: int) -> Iterator[Hit]:
    """Yield the strongest unit of each sampled map of a layer."""
    layer, record = followed.layers[index], followed.records[index]
    top, winners = scanned.layers[layer.name].hits, _winners(scanned, layer)
    for channel in record.channels:
        image_id = images.image_id(int(winners[channel]))
        row, col = top.places[channel, 0].tolist()
        is_placed = layer.is_spatial and image_id >= 0
        unit = Unit(layer.name, channel, *((row, col) if is_placed else (None, None)))
        yield Hit(index, unit, image_id, float(top.values[channel, 0]))


def _tiles(
    net: Network, followed: Followed, images: FixedImages, hits: Sequence[Hit]
) -> tuple[tuple[bytes, ...], list[float]]:
    """Return the projection of each hit as WebP, and its scale; empty ones for hits in no image."""
    active = [i for i, hit in enumerate(hits) if hit.image_id >= 0]
    ids = list(dict.fromkeys(hits[i].image_id for i in active))
    inputs = images.inputs(ids)
    values = [np.zeros(followed.records[hit.layer_index].tile, np.float32) for hit in hits]
    images_of = [
        [hits[i].image_id for i in active if hits[i].layer_index == index]
        for index in range(len(followed.layers))
    ]
    for members, crops in group_layers(net, followed.layers, followed.config.rules, images_of):
        mine = [i for i in active if hits[i].layer_index in members]
        if not mine:
            continue
        projector = Projector(net, [followed.layers[i] for i in members], followed.config.rules, crops)
        found = projector(inputs, [hits[i].unit for i in mine], [ids.index(hits[i].image_id) for i in mine])
        for place, i in enumerate(mine):
            layer = under_rules(followed.layers[hits[i].layer_index], followed.config.rules)
            window = _window(net, layer, hits[i].unit)
            values[i] = _reduced(found.on(place, window), followed.records[hits[i].layer_index].tile)
    encoded = [encode_projection(own) for own in values]
    return tuple(data for data, _ in encoded), [scale for _, scale in encoded]


def _window(net: Network, layer: Layer, unit: Unit) -> Box:
    """Return the part of the input that a tile shows; equally large for all units of a layer."""
    height, width = net.input_shape[1:]
    return window_of(tile_box(layer.receptive_field, unit.row, unit.col, (height, width)), (height, width))


def _tile_shape(net: Network, layer: Layer, config: EvolutionConfig) -> tuple[int, int, int]:
    """Return height, width and channels of a layer's tiles."""
    first = Unit(layer.name, 0, *((0, 0) if layer.is_spatial else (None, None)))
    window = _window(net, under_rules(layer, config.rules), first)
    longer = max(window.height, window.width)
    share = min(1.0, _MOST_PIXELS / longer)
    channels = net.input_shape[0]
    return (
        max(1, round(window.height * share)),
        max(1, round(window.width * share)),
        channels if channels in (1, 3) else 1,
    )


def _reduced(signal: Tensor, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return a projection (c, h, w) as a tile (h, w, c): averaged over areas, and over channels that are no colours."""
    height, width, channels = shape
    values = signal.float() if channels == len(signal) else signal.float().mean(0, keepdim=True)
    if values.shape[1:] != (height, width):
        values = functional.adaptive_avg_pool2d(values[None], (height, width))[0]
    result: NDArray[np.float32] = values.permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(result)
