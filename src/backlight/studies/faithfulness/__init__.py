"""Faithfulness: cover the pixels that a projection shows; the activation must fall, more than for controls."""

from backlight.studies.faithfulness.study import (
    Config,
    Faithfulness,
    count_hits,
    merged,
    run,
    run_by_layer,
)

__all__ = ["Config", "Faithfulness", "count_hits", "merged", "run", "run_by_layer"]
