"""Faithfulness: cover the pixels that a projection shows; the activation must fall more than for controls."""

from backlight.studies.by_hit import merged
from backlight.studies.faithfulness.result import Faithfulness, FaithfulnessConfig
from backlight.studies.faithfulness.run import count_hits, run, run_by_layer

__all__ = [
    "Faithfulness",
    "FaithfulnessConfig",
    "count_hits",
    "merged",
    "run",
    "run_by_layer",
]
