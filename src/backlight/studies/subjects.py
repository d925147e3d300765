"""The hits of an atlas that a study examines, and whether a rule set can project them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.atlas import Atlas, FeatureMap
from backlight.errors import UnsupportedOperatorError
from backlight.geometry import Box
from backlight.network import Layer, Network
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet, parse_rules
from backlight.projection import Unit, check_rules


@dataclass(frozen=True)
class Subject:
    """A hit under study.

    Attributes:
        unit: The unit.
        image_id: Its image.
        rank: Among the map's hits, 0 for the strongest.
        box: What it sees; may reach outside the image.
        inside: The part of the box inside the image, whose pixels are scored.
        centre: Row and column of the middle of the box.
    """

    unit: Unit
    image_id: int
    rank: int
    box: Box
    inside: Box

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the middle of the box, in pixels of the image."""
        return (self.box.top + self.box.bottom - 1) / 2, (self.box.left + self.box.right - 1) / 2


def distances(subject: Subject) -> NDArray[np.float64]:
    """Return the distance of each pixel inside from the centre of the receptive field."""
    (row, col), box = subject.centre, subject.inside
    result: NDArray[np.float64] = np.hypot(
        np.arange(box.top, box.bottom)[:, None] - row, np.arange(box.left, box.right) - col
    )
    return result


def applies(net: Network, layer: Layer, rules: RuleSet) -> bool:
    """Return whether the rules cover every operator between a layer and the pixels."""
    try:
        check_rules(net, [layer], rules)
    except UnsupportedOperatorError:
        return False
    return True


def rule_sets_of(atlas: Atlas, rivals: Sequence[str] = ()) -> list[RuleSet]:
    """Return the three rule sets of the papers, any others that an atlas was built with, and rivals by their spelling.

    Raises:
        BadInputError: A rival is no rule set.
    """
    known = {rules.name: rules for rules in (DECONVNET, GUIDED, GRADIENT)}
    known |= {layer.rules.name: layer.rules for layer in atlas.layers}
    return list((known | {own.name: own for own in map(parse_rules, rivals)}).values())


def choose_subjects(atlas: Atlas, name: str, maps: int | None, hits: int, seed: int) -> list[list[Subject]]:
    """Return the hits of a layer that are studied, map by map.

    Args:
        atlas: The atlas.
        name: Its layer.
        maps: How many feature maps, drawn at random from those with hits; None takes all of them.
        hits: How many hits of each, the strongest first.
        seed: Random seed for the draw, which depends on the layer's name too.

    Raises:
        UnknownLayerError: The atlas has no such layer.
    """
    layer, crop = atlas[name], atlas.preprocessing.crop
    channels = [c for c in layer.channels if layer[c].hits]
    if maps is not None and maps < len(channels):
        drawn = np.random.default_rng([seed, *name.encode()]).permutation(len(channels))
        channels = sorted(channels[i] for i in drawn[:maps])
    return [subjects_in(layer[c], crop)[:hits] for c in channels]


def subjects_in(feature_map: FeatureMap, crop: tuple[int, int]) -> list[Subject]:
    """Return the hits of a feature map; crop is the height and width of the network's input."""
    name, channel = feature_map.layer, feature_map.channel
    return [
        Subject(Unit(name, channel, hit.row, hit.col), hit.image_id, hit.rank, hit.box, hit.box.clip(*crop))
        for hit in feature_map.hits
    ]
