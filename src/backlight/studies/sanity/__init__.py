"""Sanity checks: what stays of projections with random weights, and with other switches."""

from backlight.projection.controls import SWITCHES
from backlight.studies.sanity.result import Config, Sanity
from backlight.studies.sanity.run import run

__all__ = [
    "SWITCHES",
    "Config",
    "Sanity",
    "run",
]
