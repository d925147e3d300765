"""Projection: units, project, superpose."""

from backlight.projection.project import Projector, places_of, project, superpose
from backlight.projection.units import (
    Unit,
    activations,
    check_channel,
    check_unit,
    strongest,
    strongest_units,
)

__all__ = [
    "Projector",
    "Unit",
    "activations",
    "check_channel",
    "check_unit",
    "places_of",
    "project",
    "strongest",
    "strongest_units",
    "superpose",
]
