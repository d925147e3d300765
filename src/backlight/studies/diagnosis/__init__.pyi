# What the study offers: read by type checkers, and by `lazy_loader`, which imports each name when it is first used.

from .kinds import KINDS as KINDS
from .result import Diagnosis as Diagnosis
from .result import DiagnosisConfig as DiagnosisConfig
from .result import Finding as Finding
from .run import run as run
