"""Occlusion: a square slides over an image; how do a feature map, a unit and the class change (Fig. 7)?"""

from backlight.studies.occlusion.result import Occlusion, OcclusionConfig, Watched
from backlight.studies.occlusion.run import run, run_all

__all__ = [
    "Occlusion",
    "OcclusionConfig",
    "Watched",
    "run",
    "run_all",
]
