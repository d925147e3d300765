"""Figures from an atlas: the paper's Fig. 2, the superposed hits, the filters of the first layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from backlight.errors import BadInputError
from backlight.render import (
    DEFAULT_SCALING,
    SHARE,
    MapPanel,
    Scaling,
    Tile,
    filter_figure,
    layer_figure,
    overlay_figure,
    zoom,
)

if TYPE_CHECKING:
    from backlight.atlas.reader import Atlas, AtlasLayer
    from backlight.atlas.records import FeatureMap

_MAPS_OF_A_FIGURE = 16
_EMPTY_PLACES = 64
_LARGEST_SUM = 2**24


@dataclass(frozen=True)
class FigureOptions:
    """How a figure of feature maps is drawn.

    Attributes:
        channels: Feature maps, in the order of the figure, or one; None takes the first 16 that were projected.
        scaling: How values become colours.
        columns: Maps side by side; None chooses.
        full_field: Draw whole receptive fields, even where the projections fill only their centre.
    """

    channels: Sequence[int] | int | None = None
    scaling: Scaling | str = DEFAULT_SCALING
    columns: int | None = None
    full_field: bool = False


def map_figure(atlas: Atlas, layer: AtlasLayer, options: FigureOptions) -> Image.Image:
    """Return the projections of each map's hits beside their patches (`Atlas.figure`)."""
    panels, zoomed = _panels(layer, options, _places(atlas))
    title, subtitle = _titles(atlas, layer, zoomed)
    return layer_figure(panels, title, subtitle, columns=options.columns, scaling=options.scaling)


def superposed_figure(
    atlas: Atlas, layer: AtlasLayer, options: FigureOptions, top: int | None = None
) -> Image.Image:
    """Return the top hits of each map added (`Atlas.superposed`)."""
    if top is not None and top < 1:
        raise BadInputError(f"top is the number of hits to superpose, at least 1, but came {top}")
    wanted = min(top or _places(atlas), _places(atlas))
    panels, zoomed = _panels(layer, options, wanted)
    area = max((tile.box.area for panel in panels for tile in panel.tiles), default=0)
    if area > _LARGEST_SUM:
        raise BadInputError(
            f"the receptive fields of layer {layer.name!r} are too large to be added up ({area} pixels, at most "
            f"{_LARGEST_SUM})",
            python="figure() shows its hits",
            command="`backlight figure` shows its hits",
        )
    title, subtitle = _titles(atlas, layer, zoomed)
    title = f"{title}, top {wanted} superposed"
    return overlay_figure(panels, title, subtitle, columns=options.columns, scaling=options.scaling)


def _places(atlas: Atlas) -> int:
    """Return the places that a figure has for the hits of a map; a map has no more hits than there are images."""
    return min(int(atlas.plan["top"]), max(_EMPTY_PLACES, atlas.n_scanned))


def filters_figure(atlas: Atlas, layer: AtlasLayer, columns: int | None) -> Image.Image:
    """Return the filters of a layer that reads the pixels (`Atlas.filters`)."""
    if layer.filters is None:
        raise BadInputError(
            f"layer {layer.name!r} does not read the pixels directly, so its filters are no pictures",
            python="figure(layer) shows its projections",
            command="`backlight figure` without --filters shows its projections",
        )
    title = f"{atlas.model['name']} · {layer.name}: filters"
    return filter_figure(layer.filters, title, columns=columns)


def atlas_html(atlas: Atlas) -> str:
    """Return a table of an atlas's layers for notebooks."""
    rows = "".join(
        f"<tr><td style='text-align:left'><code>{escape(layer.name)}</code></td><td>{layer.n_maps}</td>"
        f"<td>{len(layer.channels)}</td></tr>"
        for layer in atlas.layers
    )
    head = "<tr><th>layer</th><th>maps</th><th>projected</th></tr>"
    words = (
        f"{atlas.path.name}: {atlas.model['name']} over {atlas.n_scanned} images of {atlas.image_set['name']}"
    )
    state = "" if atlas.phase == "done" else " (unfinished)"
    return f"<p>{escape(words)}{state}</p><table>{head}{rows}</table>"


def _chosen(layer: AtlasLayer, channels: Sequence[int] | int | None) -> list[FeatureMap]:
    if channels is None:
        channels = layer.channels[:_MAPS_OF_A_FIGURE]
    channels = [channels] if isinstance(channels, int) else channels
    projected = set(layer.channels)
    for channel in channels:
        if channel not in projected and 0 <= channel < layer.n_maps:
            raise BadInputError(
                f"channel {channel} of layer {layer.name!r} was not projected, only {_listed(layer.channels)}",
                python="build an atlas with maps=None to project all",
                command="build an atlas with --maps all",
            )
    return [layer[channel] for channel in channels]


def _panels(layer: AtlasLayer, options: FigureOptions, top: int) -> tuple[list[MapPanel], str]:
    """Return a panel for each map, and in words what part of the receptive field their tiles show."""
    maps = _chosen(layer, options.channels)
    tiles = [[hit.tile for hit in feature_map.hits[:top]] for feature_map in maps]
    field, words = layer.receptive_field, ""
    if field is not None and not options.full_field:
        shown = iter(zoom([tile for own in tiles for tile in own]))
        tiles = [[next(shown) for _ in own] for own in tiles]
        box = next((tile.box for own in tiles for tile in own), None)
        if box is not None and (box.height, box.width) != field.size:
            words = (
                f"; a unit sees {field.size[0]} x {field.size[1]} pixels, shown are the central "
                f"{box.height} x {box.width}, with at least {SHARE:.0%} of the magnitude in 9 of 10 projections"
            )
    return [_panel(m, own, top) for m, own in zip(maps, tiles, strict=True)], words


def _panel(feature_map: FeatureMap, tiles: Sequence[Tile], top: int) -> MapPanel:
    caption = (
        ""
        if feature_map.dead
        else f"max {_number(feature_map.max)}, active in {feature_map.active_share:.0%}"
    )
    evidence = feature_map.evidence
    words, is_weak = ("", False) if evidence is None else (evidence.text, not evidence.is_strong)
    return MapPanel(f"channel {feature_map.channel}", tiles, caption, top, words, is_weak)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _titles(atlas: Atlas, layer: AtlasLayer, zoomed: str) -> tuple[str, str]:
    field = layer.receptive_field
    gates = " (gates held fixed)" if field is not None and field.gates_ignored else ""
    subtitle = (
        f"{layer.n_maps} feature maps; {atlas.n_scanned} images; {_rules(atlas, layer)}{gates}{zoomed}; "
        f"active: share of the images in which the map is above zero{_evidence(layer)}"
    )
    return f"{atlas.model['name']} · {layer.name}", subtitle


def _rules(atlas: Atlas, layer: AtlasLayer) -> str:
    chosen = " (rules chosen layer by layer)" if "layers" in atlas.rules else ""
    return f"{layer.rules.name} projections{chosen}"


def _evidence(layer: AtlasLayer) -> str:
    """Return the evidence of a layer in words, for the subtitle."""
    if layer.evidence is None:
        return ""
    falls = layer.evidence.falls
    advice = (
        "" if layer.evidence.best_rules == next(iter(falls)) else f"; advised: {layer.evidence.best_rules}"
    )
    return (
        f"; evidence for the layer ({layer.evidence.n} maps): {layer.evidence.text}{advice}. Lost: share of the "
        "activation that is gone when the pixels that a projection shows are covered (in brackets: a disc at the "
        "centre, random pixels)"
    )


def _listed(channels: Sequence[int]) -> str:
    shown = ", ".join(map(str, channels[:12]))
    return shown if len(channels) <= 12 else f"{shown}, … ({len(channels)} in all)"
