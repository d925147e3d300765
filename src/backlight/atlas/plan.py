"""The plan of a build: what will be done, known before any of it is done, and kept in the atlas to guard a resume."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from backlight.errors import AtlasError, BadInputError
from backlight.geometry import Axis, Box, ReceptiveField
from backlight.images import ImageSource, Preprocessing
from backlight.network import Layer, Network
from backlight.network.layers import Layers
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.projection import Crops, check_channel, group_layers
from backlight.projection.reach import under_rules
from backlight.scan import choose_layers

LONGEST_NAME, MOST_HITS = 1_000, 100_000

Maps = int | Sequence[int] | None
"""Which feature maps of a layer: a number of them drawn at random, their channels, or None for all."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides what an atlas will hold.

    Attributes:
        layers: The layers, in the order of the graph, each with the field that its rules' projections stay in.
        channels: For each layer, the feature maps that are projected, ascending.
        top: Hits of a feature map.
        rules: For each layer, how a signal goes down.
        preprocessing: How pictures become inputs.
        n_images: Images in the set, readable or not.
        batch_size: Images that are read and projected together; a resume keeps it, since it can decide the last bit
            of a projection.
        by_layer: Whether the rules were chosen layer by layer.
    """

    layers: tuple[Layer, ...]
    channels: tuple[tuple[int, ...], ...]
    top: int
    rules: tuple[RuleSet, ...]
    preprocessing: Preprocessing
    n_images: int
    batch_size: int
    by_layer: bool = False

    @property
    def n_maps(self) -> int:
        """Number of feature maps that are projected."""
        return sum(map(len, self.channels))

    @property
    def rules_name(self) -> str:
        """What the rules are called: their name, or their names where they were chosen layer by layer."""
        return " and ".join(dict.fromkeys(rules.name for rules in self.rules))

    @property
    def n_projections(self) -> int:
        """Number of projections, if every map has hits enough."""
        return self.n_maps * min(self.top, self.n_images)

    def tile_area(self, layer: Layer) -> int:
        """Return the pixels of a layer's largest tile: its receptive field, or the whole image."""
        height, width = self.preprocessing.crop
        if layer.receptive_field is None:
            return height * width
        return min(layer.receptive_field.size[0], height) * min(layer.receptive_field.size[1], width)


def make_plan(
    net: Network,
    source: ImageSource,
    rules: RuleSet | Mapping[str, RuleSet],
    layers: Layers | None = None,
    top: int = 9,
    maps: Maps = None,
    seed: int = 0,
    batch_size: int = 32,
) -> Plan:
    """Return the plan of a build.

    Args:
        net: The captured network; needs a preprocessing.
        source: The images.
        rules: How a signal goes down; by layer name if it differs, DECONVNET for the layers that are not named.
        layers: Layer names, or one; None takes the default layers.
        top: Hits of a feature map, at least 1.
        maps: Feature maps of each layer: a number drawn at random, a list of channels, None for all.
        seed: Decides which maps a number draws; the draw knows nothing of the images.
        batch_size: Images that are read and projected together.

    Raises:
        BadInputError: An unknown layer, a channel out of range, a number below 1, no preprocessing.
    """
    if net.preprocessing is None:
        raise BadInputError(
            f"{net.name} was captured without preprocessing; "
            "pass capture(model, example, preprocessing=Preprocessing(...))"
        )
    if top < 1 or batch_size < 1:
        raise BadInputError(f"top and batch size must be at least 1, but came {top} and {batch_size}")
    if not len(source):
        raise BadInputError(f"{source.name!r} holds no image; name a folder that does")
    chosen = choose_layers(net, layers)
    if not chosen:
        why = "".join(f" ({line})" for line in net.coverage().left_out_in_words())
        raise BadInputError(
            f"{net.name} has no feature maps to show by default{why}",
            python="name some: layers=[...]",
            command="name some with --layers",
        )
    channels = tuple(_choose_maps(layer, maps, seed) for layer in chosen)
    own = {} if isinstance(rules, RuleSet) else {net.layer(name): found for name, found in rules.items()}
    default = rules if isinstance(rules, RuleSet) else DECONVNET
    its = tuple(own.get(layer, default) for layer in chosen)
    by_layer = not isinstance(rules, RuleSet)
    chosen = tuple(
        under_rules(layer, rule) for layer, rule in zip(chosen, its, strict=True)
    )  # so that no tile cuts
    _check_limits(
        top, [net.name, *(y.name for y in chosen), *(own.name for own in its)], net.preprocessing.crop
    )
    return Plan(chosen, channels, top, its, net.preprocessing, len(source), batch_size, by_layer)


def _check_limits(top: int, names: Sequence[str], crop: tuple[int, int]) -> None:
    """Refuse, before any work, what a reader of the atlas would refuse: it may come from anybody (`atlas.checks`)."""
    if top > MOST_HITS:
        raise BadInputError(f"top is at most {MOST_HITS}, got {top}")
    for name in names:
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise BadInputError(
                f"an atlas holds names of at most {LONGEST_NAME} printable characters, got {name[:80]!r}; "
                "rename the layer, the model or the rule set"
            )
    check_pixels(crop)


def check_pixels(crop: tuple[int, int]) -> None:
    """Raise BadInputError where an image has more pixels than Pillow opens."""
    if Image.MAX_IMAGE_PIXELS is not None and math.prod(crop) > Image.MAX_IMAGE_PIXELS:
        raise BadInputError(
            f"an atlas holds images of at most {Image.MAX_IMAGE_PIXELS} pixels (PIL.Image.MAX_IMAGE_PIXELS), "
            f"got {crop[0]} x {crop[1]}; choose a smaller crop"
        )


def projection_groups(
    net: Network, plan: Plan, images_of: Sequence[Sequence[int]]
) -> Iterator[tuple[RuleSet, list[int], Crops | None]]:
    """Yield which layers to project together (as places in the plan), by which rules, and on which crops.

    Args:
        net: The captured network.
        plan: The plan of the build.
        images_of: For each layer, the images of its hits.
    """
    for rules in dict.fromkeys(plan.rules):
        mine = [i for i, own in enumerate(plan.rules) if own == rules]
        images = [images_of[i] for i in mine]
        for group, crops in group_layers(net, [plan.layers[i] for i in mine], rules, images):
            yield rules, [mine[i] for i in group], crops


def _choose_maps(layer: Layer, maps: Maps, seed: int) -> tuple[int, ...]:
    if maps is None:
        return tuple(range(layer.n_maps))
    if isinstance(maps, int):
        if maps < 1:
            raise BadInputError(f"the number of feature maps must be at least 1, but came {maps}")
        key = int.from_bytes(hashlib.sha256(layer.name.encode()).digest()[:8], "big")
        drawn = np.random.default_rng([seed, key]).permutation(layer.n_maps)[:maps]
        return tuple(sorted(int(c) for c in drawn))
    for channel in maps:
        check_channel(layer, channel)
    return tuple(sorted(set(maps)))


def identity(net: Network, source: ImageSource, plan: Plan) -> dict[str, Any]:
    """Return what an atlas must agree on with a build that would go on with it, as plain JSON."""
    return {
        "model": {"name": net.name, "input_shape": list(net.input_shape), "fingerprint": net.fingerprint()},
        "preprocessing": plan.preprocessing.to_dict(),
        "images": {"name": source.name, "n": len(source), "fingerprint": source.fingerprint()},
        "rules": _rules_to_json(plan),
        "plan": {
            "top": plan.top,
            "layers": {y.name: c for y, c in zip(plan.layers, plan.channels, strict=True)},
        },
    }


def _rules_to_json(plan: Plan) -> dict[str, Any]:
    if not plan.by_layer:
        return plan.rules[0].to_dict()
    by_layer = {layer.name: rules.to_dict() for layer, rules in zip(plan.layers, plan.rules, strict=True)}
    return {"name": plan.rules_name, "layers": by_layer}


def rules_from_json(stored: dict[str, Any], layer: str) -> RuleSet:
    """Return the rule set of a layer from what `identity` kept."""
    return RuleSet(**stored["layers"][layer] if "layers" in stored else stored)


_NAMES = {
    "model": "model or weights",
    "preprocessing": "preprocessing",
    "images": "image set",
    "rules": "rule set",
    "plan": "choice of layers, maps or top",
}


def check_identity(path: str, stored: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise AtlasError unless the atlas was begun with the same model, weights, preprocessing, images and rules."""
    asked = json.loads(json.dumps(asked))
    for part in ("images", "model"):  # a name may differ, what it stands for may not
        stored, asked = (
            {**d, part: {k: v for k, v in d[part].items() if k != "name"}} for d in (stored, asked)
        )
    stored, asked = ({**d, "rules": _without_names(d.get("rules"))} for d in (stored, asked))
    different = [name for part, name in _NAMES.items() if stored.get(part) != asked[part]]
    if different:
        raise AtlasError(
            f"{path!r} was begun with another {' and another '.join(different)}; "
            "it is left as it is: choose another name, or delete it to start anew"
        )


def _without_names(rules: Any) -> Any:
    """Return stored rules by their options alone: how their names were spelled makes no other rules."""
    if not isinstance(rules, dict):
        return rules
    if isinstance(rules.get("layers"), dict):
        return {"layers": {layer: _without_names(own) for layer, own in rules["layers"].items()}}
    return {option: value for option, value in rules.items() if option != "name"}


def layer_to_json(layer: Layer) -> str:
    """Return a layer's description as JSON."""
    field = layer.receptive_field
    return json.dumps(
        {
            "operator": layer.operator,
            "shape": layer.shape,
            "rectified": layer.rectified,
            "receptive_field": None
            if field is None or field.is_whole
            else {
                "rows": [field.rows.size, str(field.rows.stride), field.rows.offset],
                "cols": [field.cols.size, str(field.cols.stride), field.cols.offset],
                "gates_ignored": field.gates_ignored,
            },
        }
    )


def field_from_json(description: dict[str, Any]) -> ReceptiveField | None:
    """Return the receptive field in a layer's description."""
    field = description["receptive_field"]
    if field is None:
        return None
    rows, cols = (
        Axis(size, Fraction(stride), offset) for size, stride, offset in (field["rows"], field["cols"])
    )
    return ReceptiveField(rows, cols, field["gates_ignored"])


def tile_box(field: ReceptiveField | None, row: int | None, col: int | None, crop: tuple[int, int]) -> Box:
    """Return the box of a hit's tile, which may leave the image; the whole image where the field is."""
    if field is None or row is None or col is None:
        return Box(0, 0, *crop)
    return field.box(row, col)
