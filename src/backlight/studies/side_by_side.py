"""Rule sets side by side: the hits of an atlas projected by other rules too, beside the atlas's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL import Image
from torch import Tensor

from backlight.atlas import Atlas, FeatureMap
from backlight.atlas.drawing import FigureLook, draw
from backlight.errors import BadInputError
from backlight.images import open_images
from backlight.network import Network
from backlight.operators.ruleset import DECONVNET, GUIDED, RuleSet, as_rules
from backlight.progress import Watching, shows_progress
from backlight.projection import check_rules
from backlight.render import DEFAULT_SCALING, Scaling, Tile
from backlight.studies.checks import check_belongs
from backlight.studies.progress import Count
from backlight.studies.projected import HitProjector, inputs_of_hits
from backlight.studies.subjects import Subject, subjects_in


@shows_progress
def side_by_side(
    atlas: Atlas,
    net: Network,
    images: Any,
    layer: str | None = None,
    rules: Sequence[RuleSet | str] | None = None,
    *,
    channels: Sequence[int] | int | None = None,
    scaling: Scaling | str = DEFAULT_SCALING,
    columns: int | None = None,
    full_field: bool = False,
    progress: Watching = None,
) -> Image.Image:
    """Return the figure of a layer with the same hits projected by other rule sets beside the atlas's own.

    Args:
        atlas: A finished atlas.
        net: The network that it was built with.
        images: The images that it was built over.
        layer: A layer of the atlas; None takes the last.
        rules: The other rule sets; None takes the deconvnet, or guided beside the deconvnet.
        channels: Feature maps, in the order of the figure, or one; None takes the first 16 that were projected.
        scaling: How values become colours; every projection is scaled by itself.
        columns: Maps side by side; None chooses.
        full_field: Draw whole receptive fields, even where the projections fill only their centre.
        progress: True shows bars; a function is called with `side by side`, the number of maps done and the number in
            all.

    Raises:
        BadInputError: The network or the images are not the atlas's, it is not finished, a channel was not projected,
            or no rule set but the layer's own is given.
        UnknownLayerError: The atlas has no such layer.
        UnsupportedOperatorError: A rule set has no rule for an operator below the layer.
    """
    source = open_images(images)
    check_belongs(atlas, net, source)
    own = atlas[layer or atlas.layers[-1].name]
    others = _others(own.rules, rules)
    found = net.layer(own.name)
    for other in others:
        check_rules(net, [found], other)
    maps, project = own.projected(channels), HitProjector(net, found)
    count = Count(progress, "side by side", len(maps))
    tiles: dict[str, list[list[Tile]]] = {other.name: [] for other in others}
    for feature_map in maps:
        subjects = subjects_in(feature_map, atlas.preprocessing.crop)
        inputs = inputs_of_hits(net, source, subjects)
        for other in others:
            tiles[other.name].append(_tiles(feature_map, subjects, inputs, project, other))
        count.add()
    look = FigureLook(scaling, columns, full_field)
    return draw("map_figure", own.heading(), maps, look, tiles)


def _others(own: RuleSet, rules: Sequence[RuleSet | str] | None) -> list[RuleSet]:
    """Return the rule sets to compare with a layer's own, each once."""
    if rules is None:
        rules = [GUIDED if own == DECONVNET else DECONVNET]
    others = {other.name: other for other in map(as_rules, rules) if other != own}
    if not others:
        raise BadInputError(f"the atlas shows this layer by {own.name} already; name another rule set")
    return list(others.values())


def _tiles(
    feature_map: FeatureMap,
    subjects: Sequence[Subject],
    inputs: Sequence[Tensor],
    project: HitProjector,
    rules: RuleSet,
) -> list[Tile]:
    """Return the hits of a map by a rule set, as the atlas has them by its own."""
    if not subjects:
        return []
    found = project(inputs, [subject.unit for subject in subjects], rules)
    values = [found.on(i, subject.inside).permute(1, 2, 0).cpu() for i, subject in enumerate(subjects)]
    own = [hit.tile for hit in feature_map.hits]
    return [replace(tile, projection=value.float().numpy()) for tile, value in zip(own, values, strict=True)]
