"""Evolution: the strongest units of feature maps, projected, at each step of a training."""

from backlight.studies.evolution.file import open_evolution
from backlight.studies.evolution.followed import EvolutionConfig, SkippedStep
from backlight.studies.evolution.hosts import lightning_callback, transformers_callback, watch_ultralytics
from backlight.studies.evolution.labels import find_checkpoints
from backlight.studies.evolution.observing import Evolution
from backlight.studies.evolution.result import EvolutionResult
from backlight.studies.evolution.run import run
from backlight.studies.evolution.watch import EvolutionWatch

__all__ = [
    "Evolution",
    "EvolutionConfig",
    "EvolutionResult",
    "EvolutionWatch",
    "SkippedStep",
    "find_checkpoints",
    "lightning_callback",
    "open_evolution",
    "run",
    "transformers_callback",
    "watch_ultralytics",
]
