"""Inversion: from a layer's activations back to an image (Mahendran & Vedaldi, 2014 and 2016)."""

from backlight.inversion.likeness import LayerLikeness, Likeness, likeness_of
from backlight.inversion.lost import Lost, equal_restarts, lost
from backlight.inversion.measures import CodeSpread
from backlight.inversion.pictures import animate, figure
from backlight.inversion.place import Place
from backlight.inversion.recipes import RECIPES, Recipe, Stage
from backlight.inversion.result import Inversion, InversionConfig
from backlight.inversion.run import (
    MOST_PHOTOGRAPHS,
    caricature,
    check,
    invert,
    invert_all,
    maximise,
    spread_of,
)
from backlight.inversion.search import ErrorProgress

__all__ = [
    "MOST_PHOTOGRAPHS",
    "RECIPES",
    "CodeSpread",
    "ErrorProgress",
    "Inversion",
    "InversionConfig",
    "LayerLikeness",
    "Likeness",
    "Lost",
    "Place",
    "Recipe",
    "Stage",
    "animate",
    "caricature",
    "check",
    "equal_restarts",
    "figure",
    "invert",
    "invert_all",
    "likeness_of",
    "lost",
    "maximise",
    "spread_of",
]
