"""Evolution: the strongest units of feature maps, projected, at each step of a training."""

from backlight.studies.evolution.file import open_evolution
from backlight.studies.evolution.followed import EvolutionConfig, SkippedStep
from backlight.studies.evolution.observing import Evolution
from backlight.studies.evolution.result import EvolutionResult

__all__ = ["Evolution", "EvolutionConfig", "EvolutionResult", "SkippedStep", "open_evolution"]
