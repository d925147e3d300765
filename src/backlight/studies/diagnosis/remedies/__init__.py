"""Remedies: changes of a trained network that need no training, tried on a copy of it.

Each gives a new module and never changes the one that it is given; where a network cannot be changed so, a
`RemedyError` says why. `try_remedies` measures what they gain and what they cost.
"""

from backlight.studies.diagnosis.remedies.choosing import multiple_of, remedies_for
from backlight.studies.diagnosis.remedies.cutting import load_changed
from backlight.studies.diagnosis.remedies.low_pass import low_pass
from backlight.studies.diagnosis.remedies.norms import estimate_norms
from backlight.studies.diagnosis.remedies.padding import (
    even_input,
    even_size,
    one_sided,
    pad_evenly,
    uneven_windows,
)
from backlight.studies.diagnosis.remedies.prune import Twin, delete_all, delete_maps, merge_maps
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.renormalise import clip_filters, filter_rms, renormalise_maps
from backlight.studies.diagnosis.remedies.result import Trial, TrialConfig
from backlight.studies.diagnosis.remedies.trial import Remedy, try_remedies
from backlight.studies.diagnosis.remedies.trying import try_found

__all__ = [
    "Remedied",
    "Remedy",
    "Trial",
    "TrialConfig",
    "Twin",
    "clip_filters",
    "delete_all",
    "delete_maps",
    "estimate_norms",
    "even_input",
    "even_size",
    "filter_rms",
    "load_changed",
    "low_pass",
    "merge_maps",
    "multiple_of",
    "one_sided",
    "pad_evenly",
    "remedies_for",
    "renormalise_maps",
    "try_found",
    "try_remedies",
    "uneven_windows",
]
