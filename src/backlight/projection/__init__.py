"""Projection: units, project, superpose."""

from backlight.projection.project import Projections, Projector, project, superpose
from backlight.projection.units import (
    Unit,
    activations,
    check_channel,
    check_unit,
    strongest,
    strongest_units,
)

__all__ = [
    "Projections",
    "Projector",
    "Unit",
    "activations",
    "check_channel",
    "check_unit",
    "project",
    "strongest",
    "strongest_units",
    "superpose",
]
