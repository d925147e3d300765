"""Render: numbers to pictures. Scaling, tiles, mosaics; no disk, no model."""

from backlight.render.figure import MapPanel, layer_figure
from backlight.render.filters import filter_figure
from backlight.render.overlay import blend, mean_patch, overlay_figure, strip, superpose_tiles
from backlight.render.scaling import DEFAULT_SCALING, Scaling, parse_scaling, scale, stretch
from backlight.render.tiles import Tile, display_size, draw_patch, draw_projection, pad
from backlight.render.zoom import SHARE, zoom

__all__ = [
    "DEFAULT_SCALING",
    "SHARE",
    "MapPanel",
    "Scaling",
    "Tile",
    "blend",
    "display_size",
    "draw_patch",
    "draw_projection",
    "filter_figure",
    "layer_figure",
    "mean_patch",
    "overlay_figure",
    "pad",
    "parse_scaling",
    "scale",
    "stretch",
    "strip",
    "superpose_tiles",
    "zoom",
]
