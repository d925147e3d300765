"""The identity of an atlas: the JSON of every format so far, and when two identities are equal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from backlight import DECONVNET, GUIDED, Preprocessing
from backlight.atlas import checks
from backlight.engines.identity import (
    AtlasIdentity,
    ImageSetIdentity,
    ModelIdentity,
    RulesIdentity,
    Selection,
)
from fuzz.walking import without_type_checks

RULES = {"rectifier": "deconvnet", "unpool": "add", "average_pool": "fill", "lrn": "identity", "leaky": "relu",
         "gates": "frozen", "squash": "error"}  # fmt: skip
# As formats 1 and 2 hold it.
STORED = {
    "model": {"name": "Net", "input_shape": [3, 8, 8], "fingerprint": "12ab"},
    "preprocessing": {"resize": 9, "crop": [8, 8], "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
                      "interpolation": "bilinear"},
    "images": {"name": "photos", "n": 5, "fingerprint": "34cd"},
    "rules": {"name": "deconvnet", **RULES},
    "plan": {"top": 2, "layers": {"relu1": [0, 3], "relu2": [1]}},
}  # fmt: skip
IDENTITY = AtlasIdentity(
    ModelIdentity("Net", (3, 8, 8), "12ab"),
    Preprocessing(9, (8, 8), (0.0,) * 3, (1.0,) * 3),
    ImageSetIdentity("photos", 5, "34cd"),
    RulesIdentity("deconvnet", DECONVNET),
    Selection(2, {"relu1": (0, 3), "relu2": (1,)}),
)
BY_LAYER = replace(
    IDENTITY, rules=RulesIdentity("deconvnet and guided", None, {"relu1": DECONVNET, "relu2": GUIDED})
)


def test_it_is_read_and_written_as_it_always_was() -> None:
    assert IDENTITY.to_json() == json.dumps(STORED)
    assert AtlasIdentity.from_dict(STORED) == IDENTITY
    by_layer = {
        "relu1": {"name": "deconvnet", **RULES},
        "relu2": {"name": "guided", **RULES, "rectifier": "guided"},
    }
    stored = STORED | {"rules": {"name": "deconvnet and guided", "layers": by_layer}}
    assert BY_LAYER.to_json() == json.dumps(stored)
    assert checks.identity(json.dumps(stored)) == BY_LAYER
    assert [BY_LAYER.rules.of(layer).name for layer in ("relu1", "relu2")] == ["deconvnet", "guided"]


def test_names_make_no_difference() -> None:
    renamed = replace(
        IDENTITY,
        model=replace(IDENTITY.model, name="Other"),
        image_set=replace(IDENTITY.image_set, name="moved"),
        rules=RulesIdentity("mine", replace(DECONVNET, name="mine")),
    )
    assert renamed == IDENTITY
    assert renamed.differences(IDENTITY) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": ModelIdentity("Net", (3, 8, 8), "other")}, ["model or weights"]),
        ({"image_set": ImageSetIdentity("photos", 5, "other")}, ["image set"]),
        ({"rules": RulesIdentity("guided", GUIDED)}, ["rule set"]),
        ({"rules": BY_LAYER.rules}, ["rule set"]),
        ({"selection": Selection(3, IDENTITY.selection.channels)}, ["choice of layers, maps or top"]),
        ({"preprocessing": Preprocessing.default(3, 9), "model": ModelIdentity("", (3, 8, 8), "")},
         ["model or weights", "preprocessing"]),
    ],
)  # fmt: skip
def test_what_differs_is_said(change: dict[str, object], words: list[str]) -> None:
    assert IDENTITY.differences(replace(IDENTITY, **change)) == words


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("model", "input_shape"), [3, 8, 9], "is not that of the preprocessing"),
        (("images", "n"), "5", "number of images must be a whole number"),
        (("plan", "top"), 0, "top must be a whole number from 1"),
        (("plan", "layers"), {"relu1": [-1]}, "channels of 'relu1' must be a whole number from 0"),
        (("rules", "unpool"), "max", "rule option unpool='max' does not exist"),
        (("rules", "name"), "a\x1b", "rules must be printable"),
    ],
)
def test_an_identity_that_no_build_writes_is_refused(
    place: tuple[str, str], value: object, message: str
) -> None:
    part, key = place
    stored = STORED | {part: STORED[part] | {key: value}}
    with without_type_checks(), pytest.raises(ValueError, match=message):
        checks.identity(json.dumps(stored))
