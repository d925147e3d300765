"""Backlight shows what the hidden layers of a trained convolutional network respond to.

It shines the activation of a unit back through the network to the pixels (the deconvnet of Zeiler & Fergus,
2013), for every feature map of every layer, over a whole set of images.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from backlight.atlas import Atlas, AtlasLayer, FeatureMap, Hit, build, open_atlas
from backlight.errors import BacklightError
from backlight.geometry import Box, ReceptiveField
from backlight.images import Preprocessing, open_images
from backlight.inversion import Inversion, invert
from backlight.network import Coverage, Layer, Network, capture
from backlight.network.zfnet import zfnet
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet, parse_rules
from backlight.projection import Unit, project, strongest, superpose
from backlight.scan import Scan, scan

if TYPE_CHECKING:
    from backlight import adaptive as adaptive
    from backlight import studies as studies

__version__ = "0.1.0"

__all__ = [
    "DECONVNET",
    "GRADIENT",
    "GUIDED",
    "Atlas",
    "AtlasLayer",
    "BacklightError",
    "Box",
    "Coverage",
    "FeatureMap",
    "Hit",
    "Inversion",
    "Layer",
    "Network",
    "Preprocessing",
    "ReceptiveField",
    "RuleSet",
    "Scan",
    "Unit",
    "build",
    "capture",
    "invert",
    "open_atlas",
    "open_images",
    "parse_rules",
    "project",
    "scan",
    "strongest",
    "superpose",
    "zfnet",
]

_ON_FIRST_USE = ("adaptive", "studies")


def __getattr__(name: str) -> ModuleType:
    """Import what takes long to import when it is first used: `backlight.adaptive`, `backlight.studies`."""
    if name in _ON_FIRST_USE:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
