"""Figures of a heading and feature maps: the paper's Fig. 2, superposed hits; and the filters of the first layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.atlas.drawing import FigureLook
from backlight.atlas.headings import Heading
from backlight.atlas.inside import inside
from backlight.atlas.records import FeatureMap, Hit
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.render import (
    SHARE,
    MapPanel,
    Tile,
    box_sides,
    cut,
    draw_patch,
    draw_projection,
    filter_figure,
    layer_figure,
    low_pass,
    overlay_figure,
    strip,
    zoom,
)
from backlight.text import visible

_LARGEST_SUM = 2**24
_CARD_PIXELS = 224
_FEW_LABELS = 5


def map_figure(
    heading: Heading,
    maps: Sequence[FeatureMap],
    look: FigureLook,
    others: Mapping[str, Sequence[Sequence[Tile]]] | None = None,
) -> Image.Image:
    """Return the projections of each map's hits beside their patches (`Atlas.figure`).

    Args:
        heading: What stands above.
        maps: The feature maps.
        look: How they are drawn.
        others: By rule set, the tiles of the hits of each map by these rules, to be drawn beside the atlas's own.

    Raises:
        AtlasError: A hit is not projected yet.
    """
    others = others or {}
    panels, shown = _panels(heading, maps, look, heading.n_places, list(others.values()), moved=True)
    return layer_figure(
        panels,
        heading.title,
        heading.subtitle(shown, list(others)),
        columns=look.columns,
        scaling=look.scaling,
        terms=heading.terms(_has_stability(maps)),
        rules=(heading.rules, *others) if others else (),
    )


def superposed_figure(
    heading: Heading, maps: Sequence[FeatureMap], look: FigureLook, top: int | None = None
) -> Image.Image:
    """Return the top hits of each map, aligned on the unit and added (`Atlas.superposed`).

    Raises:
        BadInputError: A top below 1, or receptive fields too large to be added up.
        AtlasError: A hit is not projected yet.
    """
    if top is not None and top < 1:
        raise BadInputError(f"top is the number of hits to superpose, at least 1, got {top}")
    wanted = min(top or heading.n_places, heading.n_places)
    panels, shown = _panels(heading, maps, look, wanted)
    area = max((tile.box.area for panel in panels for tile in panel.tiles), default=0)
    if area > _LARGEST_SUM:
        raise BadInputError(
            f"the receptive fields of layer {heading.layer!r} are too large to be added up ({area} pixels, at most "
            f"{_LARGEST_SUM})",
            python="figure() shows its hits",
            command="`backlight figure` shows its hits",
        )
    title = f"{heading.title}, top {wanted} superposed"
    terms = heading.terms(_has_stability(maps))
    return overlay_figure(
        panels, title, heading.subtitle(shown), columns=look.columns, scaling=look.scaling, terms=terms
    )


def filters_figure(heading: Heading, filters: NDArray[np.float32] | None, columns: int | None) -> Image.Image:
    """Return the filters (n, c, k, k) of a layer that reads the pixels (`Atlas.filters_figure`).

    Raises:
        BadInputError: It has none, since it is a deeper layer.
    """
    if filters is None:
        raise BadInputError(
            f"layer {heading.layer!r} does not read the pixels directly, so its filters cannot be shown as pictures",
            python="figure(layer) shows its projections",
            command="`backlight figure` without --filters shows its projections",
        )
    return filter_figure(filters, f"{heading.title}: filters", columns=columns)


def hit_figure(hit: Hit) -> Image.Image:
    """Return the projection of a hit beside its patch, for notebooks."""
    where = "" if hit.row is None else f" at row {hit.row}, column {hit.col}"
    tile = hit.tile
    pictures = [
        ("projection", draw_projection(tile, _CARD_PIXELS)),
        ("patch", draw_patch(tile, _CARD_PIXELS)),
    ]
    return strip(pictures, f"{hit.value:.4g}{where} of {hit.image.path}", "Grey is zero.")


def _panels(
    heading: Heading,
    maps: Sequence[FeatureMap],
    look: FigureLook,
    top: int,
    others: Sequence[Sequence[Sequence[Tile]]] = (),
    moved: bool = False,
) -> tuple[list[MapPanel], str]:
    """Return a panel for each map, and in words what is done to their tiles and what part of the field they show."""
    tiles = [[hit.tile for hit in feature_map.hits[:top]] for feature_map in maps]
    field, facts = heading.receptive_field, []
    if look.low_pass:
        sides = _half_a_stride(heading)
        tiles = [[_averaged(tile, sides) for tile in own] for own in tiles]
        facts.append(f"projections averaged over {sides[0]} x {sides[1]} pixels, half a stride of the layer")
    if field is not None and not look.full_field:
        # All tiles of a figure are cut to one size, so they are zoomed together and dealt out again.
        shown = zoom([tile for own in tiles for tile in own], moved=moved)
        facts.append(_shown(shown, field.size, moved))
        dealt = iter(shown)
        tiles = [[next(dealt) for _ in own] for own in tiles]
    panels = []
    for i, feature_map in enumerate(maps):
        # what other rules show on the same pixels
        rest = [
            [cut(tile, own.box) for tile, own in zip(rules[i], tiles[i], strict=True)] for rules in others
        ]
        shown_tiles = [tiles[i], *rest]
        if moved:
            shown_tiles = [
                [inside(hit, tile) for hit, tile in zip(feature_map.hits, own, strict=False)]
                for own in shown_tiles
            ]
        panel = _panel(feature_map, shown_tiles[0], shown_tiles[1:], top)
        names = _names(feature_map, top) if look.names else ""
        panels.append(replace(panel, label=heading.of_map(feature_map.channel), names=names))
    return panels, "; ".join(filter(None, facts))


def _half_a_stride(heading: Heading) -> tuple[int, int]:
    """Return the sides of the box that projections are averaged over.

    Raises:
        BadInputError: It is a single pixel, which changes nothing.
    """
    field = heading.receptive_field
    sides = (1, 1) if field is None else box_sides(field.stride)
    if sides == (1, 1):
        raise BadInputError(
            f"half a stride of layer {heading.layer!r} is less than 2 pixels, over which nothing is averaged",
            python="draw it without low_pass=True",
            command="draw it without --low-pass",
        )
    return sides


def _averaged(tile: Tile, sides: tuple[int, int]) -> Tile:
    # (h, w, c) of a tile to the (c, h, w) of a signal, and back
    values = np.moveaxis(tile.projection, 2, 0)
    return replace(tile, projection=np.moveaxis(low_pass(values, sides), 0, 2))


def _shown(tiles: Sequence[Tile], field: tuple[int, int], moved: bool) -> str:
    """Return in words what part of the receptive field tiles show; empty for all of it."""
    if not tiles or (tiles[0].box.height, tiles[0].box.width) == field:
        return ""
    seen = f"a unit sees {field[0]} x {field[1]} pixels"
    if all(tile.inside == Box(0, 0, *tile.image_size) for tile in tiles):
        return f"{seen}, more than the image, which is shown whole"
    border = ", moved into the image at its border" if moved else ""
    return (
        f"{seen}, shown are the central {tiles[0].box.height} x {tiles[0].box.width}{border}, "
        f"with at least {SHARE:.0%} of the magnitude in 9 of 10 projections"
    )


def _panel(
    feature_map: FeatureMap, tiles: Sequence[Tile], others: Sequence[Sequence[Tile]], top: int
) -> MapPanel:
    caption = (
        ""
        if feature_map.dead
        else f"max {_number(feature_map.max)}, active in {feature_map.active_share:.0%}"
    )
    if feature_map.stability is not None:
        caption += f", {feature_map.stability.text}"
    evidence = feature_map.evidence
    found = [own.text for own in (evidence, feature_map.foretelling) if own is not None]
    words, is_weak = "; ".join(found), evidence is not None and not evidence.is_strong
    return MapPanel(f"channel {feature_map.channel}", tiles, caption, top, words, is_weak, others)


def _names(feature_map: FeatureMap, top: int) -> str:
    """Return where the hits of a map are from: their labels, most frequent first, and the names of their files."""
    hits = feature_map.hits[:top]
    counts = Counter(own.label for own in hits if own.label)
    labels = ", ".join(
        f"{visible(label)} ×{n}" if n > 1 else visible(label) for label, n in counts.most_common(_FEW_LABELS)
    )
    files = ", ".join(visible(PurePosixPath(own.image.path).name) for own in hits)
    return " · ".join(filter(None, (labels, files)))


def _has_stability(maps: Sequence[FeatureMap]) -> bool:
    return any(own.stability is not None for own in maps)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
