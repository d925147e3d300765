"""Foretelling: does a projection tell where an image must be covered to make the activation fall?"""

from backlight.studies.by_hit import merged
from backlight.studies.foretelling.result import Foretelling, ForetellingConfig
from backlight.studies.foretelling.run import count_hits, run, run_by_layer

__all__ = [
    "Foretelling",
    "ForetellingConfig",
    "count_hits",
    "merged",
    "run",
    "run_by_layer",
]
