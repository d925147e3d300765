"""Diagnosis: what is wrong with a network, each finding with a measure, its null and what to try."""

from backlight.studies.diagnosis.kinds import KINDS
from backlight.studies.diagnosis.result import Diagnosis, DiagnosisConfig, Finding
from backlight.studies.diagnosis.run import run

__all__ = [
    "KINDS",
    "Diagnosis",
    "DiagnosisConfig",
    "Finding",
    "run",
]
