"""Projections of the hits that a diagnosis looks at, and the small pictures that are its evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import UnsupportedOperatorError
from backlight.geometry import Box
from backlight.network import Network
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.projection import Projector, Unit, check_rules, paying_crops
from backlight.render import Tile, draw_projection
from backlight.studies.diagnosis.collect import Record
from backlight.studies.diagnosis.inputs import Inputs

SIDE = 96
"""Rows and columns of a picture of evidence."""


def strongest_images(record: Record, channel: int, count: int) -> NDArray[np.int64]:
    """Return the places, among the record's images, of those that wake a map most, the strongest first."""
    order = np.argsort(-record.maxima[:, channel], kind="stable")[:count]
    found: NDArray[np.int64] = order[record.maxima[order, channel] > 0]
    return found


def project_hits(
    net: Network, inputs: Inputs, record: Record, hits: Sequence[tuple[int, int]], rules: RuleSet = DECONVNET
) -> list[NDArray[np.float32]]:
    """Return the projections of hits, each on the box that its unit sees, (h, w, c) with zeros outside the image.

    Args:
        net: The captured network.
        inputs: The images.
        record: What was seen of the layer.
        hits: Channels, and places among the record's images.
        rules: How a signal is passed back.

    Raises:
        UnsupportedOperatorError: An operator between the layer and the pixels has no rule.
    """
    layer = record.layer
    check_rules(net, [layer], rules)
    places = sorted({place for _, place in hits})
    images = inputs.of([int(record.ids[place]) for place in places])
    units = [Unit(layer.name, c, *map(int, record.places[place, c])) for c, place in hits]
    owners = [places.index(place) for _, place in hits]
    projector = Projector(net, [layer], rules, paying_crops(net, layer, rules, len(units), len(places)))
    found = projector(images, units, owners)
    whole = Box(0, 0, *net.input_shape[1:])
    field = layer.receptive_field
    boxes = [whole if field is None else field.box(unit.row or 0, unit.col or 0) for unit in units]
    return [found.on(i, box).permute(1, 2, 0).float().cpu().numpy() for i, box in enumerate(boxes)]


def can_project(net: Network, record: Record, rules: RuleSet = DECONVNET) -> str | None:
    """Return why the units of a layer cannot be projected; None where they can."""
    try:
        check_rules(net, [record.layer], rules)
    except UnsupportedOperatorError as error:
        return str(error)
    return None


def as_picture(projection: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a projection (h, w, c) as a picture (side, side, 3), grey where it is zero."""
    height, width, depth = projection.shape
    if depth not in (1, 3):
        projection = projection.mean(2, keepdims=True)
    patch = np.full((height, width, 3), 128, np.uint8)
    drawn = draw_projection(Tile(patch, projection, Box(0, 0, height, width), (height, width)), SIDE)
    found: NDArray[np.uint8] = np.asarray(drawn.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST))
    return found
