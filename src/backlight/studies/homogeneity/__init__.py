"""Homogeneity: how alike the hits of one feature map are, against hits of different maps."""

from backlight.studies.homogeneity.study import Config, Homogeneity, run

__all__ = [
    "Config",
    "Homogeneity",
    "run",
]
