"""Projection: units, project, superpose."""

from backlight.projection.check import check_rules
from backlight.projection.crops import Crops, crops_of, group_layers, paying_crops
from backlight.projection.pictures import Projection, picture
from backlight.projection.project import project, superpose
from backlight.projection.projector import MOST_IMAGES, MOST_UNITS, Projections, Projector, inputs_at_once
from backlight.projection.units import (
    Seed,
    Unit,
    Units,
    activations,
    check_channel,
    check_unit,
    strongest,
    strongest_units,
)

__all__ = [
    "MOST_IMAGES",
    "MOST_UNITS",
    "Crops",
    "Projection",
    "Projections",
    "Projector",
    "Seed",
    "Unit",
    "Units",
    "activations",
    "check_channel",
    "check_rules",
    "check_unit",
    "crops_of",
    "group_layers",
    "inputs_at_once",
    "paying_crops",
    "picture",
    "project",
    "strongest",
    "strongest_units",
    "superpose",
]
