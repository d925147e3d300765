# What the study offers: read by type checkers, and by `lazy_loader`, which imports each name when it is first used.

from .file import open_evolution as open_evolution
from .followed import EvolutionConfig as EvolutionConfig
from .followed import SkippedStep as SkippedStep
from .hosts import lightning_callback as lightning_callback
from .hosts import transformers_callback as transformers_callback
from .hosts import watch_ultralytics as watch_ultralytics
from .labels import find_checkpoints as find_checkpoints
from .observing import Evolution as Evolution
from .result import EvolutionResult as EvolutionResult
from .run import run as run
from .watch import EvolutionWatch as EvolutionWatch
