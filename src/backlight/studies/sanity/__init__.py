"""Sanity checks: what stays of projections with random weights, and with other switches."""

from backlight.studies.sanity.study import SWITCHES, Config, Sanity, run

__all__ = [
    "SWITCHES",
    "Config",
    "Sanity",
    "run",
]
