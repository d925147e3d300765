"""Occlusion: a square slid over an image, for a feature map, a unit and the class (the paper's Fig. 7)."""

from backlight.studies.occlusion.result import Occlusion, OcclusionConfig, Watched
from backlight.studies.occlusion.run import run

__all__ = [
    "Occlusion",
    "OcclusionConfig",
    "Watched",
    "run",
]
