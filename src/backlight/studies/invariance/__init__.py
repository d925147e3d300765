"""Invariance: images shifted, magnified and turned; how far do layers and the class's probability move (Fig. 5)?"""

from backlight.studies.invariance.result import Invariance, InvarianceConfig
from backlight.studies.invariance.run import default_layers, run

__all__ = [
    "Invariance",
    "InvarianceConfig",
    "default_layers",
    "run",
]
