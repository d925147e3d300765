"""Figures from an atlas: the paper's Fig. 2, the superposed hits, the filters of the first layer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from backlight.errors import BadInputError
from backlight.render import MapPanel, Scaling, filter_figure, layer_figure, overlay_figure

if TYPE_CHECKING:
    from backlight.atlas.hits import FeatureMap
    from backlight.atlas.reader import Atlas, AtlasLayer

_MAPS_OF_A_FIGURE = 16


def map_figure(
    atlas: Atlas,
    layer: AtlasLayer,
    channels: Sequence[int] | None,
    scaling: Scaling | str,
    columns: int | None,
) -> Image.Image:
    """Return the projections of each map's hits beside their patches (`Atlas.figure`)."""
    panels = [_panel(m, atlas.plan["top"]) for m in _chosen(layer, channels)]
    return layer_figure(panels, *_titles(atlas, layer), columns=columns, scaling=scaling)


def superposed_figure(
    atlas: Atlas,
    layer: AtlasLayer,
    channels: Sequence[int] | None,
    top: int | None,
    scaling: Scaling | str,
    columns: int | None,
) -> Image.Image:
    """Return the top hits of each map added (`Atlas.superposed`)."""
    if top is not None and top < 1:
        raise BadInputError(f"top is the number of hits to superpose, at least 1, but came {top}")
    wanted = min(top or atlas.plan["top"], atlas.plan["top"])
    panels = [_panel(m, wanted) for m in _chosen(layer, channels)]
    title, subtitle = _titles(atlas, layer)
    return overlay_figure(panels, f"{title}, top {wanted} superposed", subtitle, columns=columns, scaling=scaling)


def filters_figure(atlas: Atlas, layer: AtlasLayer, columns: int | None) -> Image.Image:
    """Return the filters of a layer that reads the pixels (`Atlas.filters`)."""
    if layer.filters is None:
        raise BadInputError(
            f"layer {layer.name!r} does not read the pixels directly, so its filters are no pictures; "
            "`backlight figure` without --filters shows its projections"
        )
    title, _ = _titles(atlas, layer)
    return filter_figure(layer.filters, f"{title}: filters", columns=columns)


def atlas_html(atlas: Atlas) -> str:
    """Return a table of an atlas's layers for notebooks."""
    rows = "".join(
        f"<tr><td style='text-align:left'><code>{escape(layer.name)}</code></td><td>{layer.n_maps}</td>"
        f"<td>{len(layer.channels)}</td></tr>"
        for layer in atlas.layers
    )
    head = "<tr><th>layer</th><th>maps</th><th>projected</th></tr>"
    words = f"{atlas.path.name}: {atlas.model['name']} over {atlas.n_scanned} images of {atlas.image_set['name']}"
    state = "" if atlas.phase == "done" else " (unfinished)"
    return f"<p>{escape(words)}{state}</p><table>{head}{rows}</table>"


def _chosen(layer: AtlasLayer, channels: Sequence[int] | None) -> list[FeatureMap]:
    if channels is None:
        channels = layer.channels[:_MAPS_OF_A_FIGURE]
    projected = set(layer.channels)
    for channel in channels:
        if channel not in projected and 0 <= channel < layer.n_maps:
            raise BadInputError(
                f"channel {channel} of layer {layer.name!r} was not projected, only {_listed(layer.channels)}; "
                "build an atlas with --maps all"
            )
    return [layer[channel] for channel in channels]


def _panel(feature_map: FeatureMap, top: int) -> MapPanel:
    tiles = [hit.tile for hit in feature_map.hits[:top]]
    caption = "" if feature_map.dead else f"max {feature_map.max:.3g}, active in {feature_map.active_share:.0%}"
    return MapPanel(f"channel {feature_map.channel}", tiles, caption, top)


def _titles(atlas: Atlas, layer: AtlasLayer) -> tuple[str, str]:
    title = f"{atlas.model['name']} · {layer.name}"
    field = layer.receptive_field
    gates = " (gates held fixed)" if field is not None and field.gates_ignored else ""
    subtitle = (
        f"{layer.n_maps} feature maps; {atlas.n_scanned} images; {atlas.rules['name']} projections{gates}; "
        "active: share of the images in which the map is above zero"
    )
    return title, subtitle


def _listed(channels: Sequence[int]) -> str:
    shown = ", ".join(map(str, channels[:12]))
    return shown if len(channels) <= 12 else f"{shown}, … ({len(channels)} in all)"
