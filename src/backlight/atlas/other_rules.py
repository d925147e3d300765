"""Other rule sets: the hits of an atlas projected by rules beside those that it was built with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backlight.atlas import checks
from backlight.atlas.checksums import place
from backlight.atlas.damage import reading
from backlight.atlas.descriptions import LayerDescription
from backlight.atlas.file import AtlasFile
from backlight.engines.identity import RulesIdentity


@dataclass(frozen=True)
class OtherRules:
    """A rule set that the hits of an atlas are projected by too.

    Attributes:
        rules: The rules.
        keys: By layer id, what stands for the layer under these rules in the table of tiles.
        descriptions: By layer id, what the layer is under these rules: their field can be wider.
    """

    rules: RulesIdentity
    keys: Mapping[int, int]
    descriptions: Mapping[int, LayerDescription]


def read_other_rules(
    file: AtlasFile, channels: Mapping[str, Sequence[int]], known: Sequence[LayerDescription]
) -> tuple[OtherRules, ...]:
    """Return the other rule sets of an atlas, in the order in which they were added.

    Args:
        file: The atlas.
        channels: By the names of its layers, their feature maps that are shown.
        known: What its layers are under its own rules.

    Raises:
        DamagedAtlasError: They are not what was written, or one does not have all layers.
    """
    if not file.has_other_rules:
        return ()
    sets, layers = file.group("rules")
    found = []
    with reading(file.path, place("rules")):
        for (rules_id, _), rules in zip(sets, rules_of(file, channels), strict=True):
            own = {layer_id: (key, about) for key, of, layer_id, about in layers if of == rules_id}
            if sorted(own) != list(range(len(channels))):
                raise ValueError(f"the rules {rules.name!r} do not have the layers of the atlas")
            keys = {i: checks.whole(own[i][0], "rule_layer_id") for i in own}
            described = {
                i: _described(own[i][1], layer, shown)
                for i, (layer, shown) in enumerate(zip(known, channels.values(), strict=True))
            }
            found.append(OtherRules(rules, keys, described))
    return tuple(found)


def rules_of(file: AtlasFile, layers: Iterable[str]) -> list[RulesIdentity]:
    """Return the other rule sets of an atlas, in the order in which they were added.

    Args:
        file: The atlas.
        layers: The names of its layers.
    """
    sets = file.group("rules")[0] if file.has_other_rules else []
    names = list(layers)
    with reading(file.path, place("rules")):
        return [checks.rules(json.loads(text), names) for _, text in sets]


def _described(text: object, known: LayerDescription, channels: Sequence[int]) -> LayerDescription:
    """Return what a layer is under other rules: only its field may differ."""
    found = checks.description(text, channels)
    same = replace(known, receptive_field=found.receptive_field, sources=None)
    if found != same:
        raise ValueError("the description of a layer is that of another one")
    return replace(same, sources=known.sources)
