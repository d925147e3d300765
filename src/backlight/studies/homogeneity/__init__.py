"""Homogeneity: how alike the hits of one feature map are, against hits of different maps."""

from backlight.studies.homogeneity.result import Config, Homogeneity
from backlight.studies.homogeneity.run import run

__all__ = [
    "Config",
    "Homogeneity",
    "run",
]
