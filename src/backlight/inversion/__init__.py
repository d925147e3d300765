"""Inversion: from the code of a layer back to an image (Mahendran & Vedaldi, 2014 and 2016)."""

from backlight.inversion.measures import Spread
from backlight.inversion.pictures import animate, figure
from backlight.inversion.recipes import RECIPES, Place, Recipe, Stage
from backlight.inversion.result import Config, Inversion
from backlight.inversion.run import (
    MOST_PHOTOGRAPHS,
    caricature,
    check,
    invert,
    invert_all,
    maximise,
    spread_of,
)

__all__ = [
    "MOST_PHOTOGRAPHS",
    "RECIPES",
    "Config",
    "Inversion",
    "Place",
    "Recipe",
    "Spread",
    "Stage",
    "animate",
    "caricature",
    "check",
    "figure",
    "invert",
    "invert_all",
    "maximise",
    "spread_of",
]
