"""Identity: what an atlas is of. A build may only resume an atlas of the same identity.

These records stand here, below the atlas, because a plan states its identity before there is any file. They are plain
data, read and written by cattrs; importing them does not import torch. The JSON is that of atlas formats 1 and 2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from PIL import Image

from backlight.errors import BadInputError
from backlight.images import Preprocessing, preprocessing_from_dict
from backlight.operators.ruleset import RuleSet

LONGEST_NAME, MOST_HITS = 1_000, 100_000
"""Characters of a name, and hits of a feature map, at most: an atlas may come from anybody, so readers have limits."""


@dataclass(frozen=True)
class ModelIdentity:
    """Which network an atlas was built with.

    Attributes:
        name: What it is called; equal networks may have different names.
        input_shape: (c, h, w) of one input.
        fingerprint: Hash of its graph and its weights (`Network.fingerprint`).
    """

    name: str = field(compare=False)
    input_shape: tuple[int, ...]
    fingerprint: str


@dataclass(frozen=True)
class ImageSetIdentity:
    """Which images an atlas was built over.

    Attributes:
        name: Where they were; the same images may be moved.
        n_images: How many there are, readable or not.
        fingerprint: Hash of their names and sizes (`ImageSource.fingerprint`).
    """

    name: str = field(compare=False)
    n_images: int
    fingerprint: str


@dataclass(frozen=True)
class RulesIdentity:
    """By which rules the hits of an atlas were projected.

    Attributes:
        name: What the rules are called; equal rules may have different names.
        everywhere: The rule set of all layers; None where rules were chosen layer by layer.
        by_layer: The rule set of each layer, by name, where they were chosen layer by layer.
    """

    name: str = field(compare=False)
    everywhere: RuleSet | None
    by_layer: Mapping[str, RuleSet] = field(default_factory=dict)

    def of(self, layer: str) -> RuleSet:
        """Return the rule set of a layer."""
        return self.by_layer[layer] if self.everywhere is None else self.everywhere

    def to_json(self) -> str:
        """Return the rules as `from_dict` reads them, and as they stand in the JSON of an identity."""
        return json.dumps(_CONVERTER.unstructure(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RulesIdentity:
        """Return the rules from the object in their JSON; `backlight.atlas.checks` has checked its values."""
        return _CONVERTER.structure(values, cls)


@dataclass(frozen=True)
class Selection:
    """What an atlas shows.

    Attributes:
        top: Hits of a feature map, at most.
        channels: The feature maps of each layer that are projected, by the layer's name, in the order of the graph.
    """

    top: int
    channels: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class AtlasIdentity:
    """What an atlas is of; two are equal if they differ in names at most.

    Attributes:
        model: The network.
        preprocessing: How pictures became its inputs.
        image_set: The images.
        rules: How hits were projected.
        selection: The layers, feature maps and hits.
    """

    model: ModelIdentity
    preprocessing: Preprocessing
    image_set: ImageSetIdentity
    rules: RulesIdentity
    selection: Selection

    def to_json(self) -> str:
        """Return the identity as `from_dict` reads it."""
        return json.dumps(_CONVERTER.unstructure(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AtlasIdentity:
        """Return the identity from the object in its JSON; `backlight.atlas.checks` has checked its values."""
        return _CONVERTER.structure(values, cls)

    def differences(self, other: AtlasIdentity) -> list[str]:
        """Return in words what is different in another identity."""
        names = [one.name for one in fields(self)]
        return [_IN_WORDS[name] for name in names if getattr(self, name) != getattr(other, name)]


def check_pixels(crop: tuple[int, int]) -> None:
    """Raise BadInputError where an image has more pixels than Pillow opens."""
    if Image.MAX_IMAGE_PIXELS is not None and math.prod(crop) > Image.MAX_IMAGE_PIXELS:
        raise BadInputError(
            f"an atlas holds images of at most {Image.MAX_IMAGE_PIXELS} pixels (PIL.Image.MAX_IMAGE_PIXELS), "
            f"got {crop[0]} x {crop[1]}; choose a smaller crop"
        )


def _rules_to_dict(rules: RulesIdentity) -> dict[str, Any]:
    if rules.everywhere is not None:
        return rules.everywhere.to_dict()
    return {
        "name": rules.name,
        "layers": {layer: own.to_dict() for layer, own in rules.by_layer.items()},
    }


def _rules_from_dict(values: Mapping[str, Any], _: type[RulesIdentity]) -> RulesIdentity:
    if "layers" not in values:
        rules = RuleSet(**values)
        return RulesIdentity(rules.name, rules)
    return RulesIdentity(
        values["name"], None, {layer: RuleSet(**own) for layer, own in values["layers"].items()}
    )


def _make_converter() -> cattrs.Converter:
    """Return what reads and writes identities: keys of the JSON that have other names, and values with own methods."""
    # Without cattrs' detailed errors a damaged atlas is reported by the first thing that is wrong.
    converter = cattrs.Converter(detailed_validation=False)
    renamed = (
        (ImageSetIdentity, {"n_images": "n"}),
        (Selection, {"channels": "layers"}),
        (AtlasIdentity, {"image_set": "images", "selection": "plan"}),
    )
    converter.register_unstructure_hook(Preprocessing, lambda own: own.to_dict())
    converter.register_structure_hook(Preprocessing, lambda values, _: preprocessing_from_dict(values))
    converter.register_unstructure_hook(RulesIdentity, _rules_to_dict)
    converter.register_structure_hook(RulesIdentity, _rules_from_dict)
    for kind, keys in renamed:
        overrides: dict[str, Any] = {name: override(rename=key) for name, key in keys.items()}
        converter.register_unstructure_hook(kind, make_dict_unstructure_fn(kind, converter, **overrides))
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, **overrides))
    return converter


_CONVERTER = _make_converter()
_IN_WORDS = {
    "model": "model or weights",
    "preprocessing": "preprocessing",
    "image_set": "image set",
    "rules": "rule set",
    "selection": "choice of layers, maps or top",
}
