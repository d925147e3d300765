"""Sanity checks: what remains of projections with random weights, and with other switches."""

from backlight.projection.controls import SWITCHES
from backlight.studies.sanity.result import Sanity, SanityConfig
from backlight.studies.sanity.run import run

__all__ = [
    "SWITCHES",
    "Sanity",
    "SanityConfig",
    "run",
]
