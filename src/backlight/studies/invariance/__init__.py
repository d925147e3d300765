"""Invariance: images shifted, magnified and turned; how far layers and the classifier move (Fig. 5)."""

from backlight.studies.invariance.result import Config, Invariance
from backlight.studies.invariance.run import default_layers, run

__all__ = [
    "Config",
    "Invariance",
    "default_layers",
    "run",
]
