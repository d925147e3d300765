"""Homogeneity: how alike the hits of one feature map are, compared with hits of different maps."""

from backlight.studies.homogeneity.result import Homogeneity, HomogeneityConfig
from backlight.studies.homogeneity.run import run

__all__ = [
    "Homogeneity",
    "HomogeneityConfig",
    "run",
]
