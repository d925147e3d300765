"""Remedies: changes of a trained network that need no training, tried on a copy of it.

Each gives a new module and never changes the one that it is given; where a network cannot be changed so, a
`RemedyError` says why.
"""

from backlight.studies.diagnosis.remedies.cutting import load_changed
from backlight.studies.diagnosis.remedies.prune import Twin, delete_maps, merge_maps
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.renormalise import clip_filters, filter_rms, renormalise_maps

__all__ = [
    "Remedied",
    "Twin",
    "clip_filters",
    "delete_maps",
    "filter_rms",
    "load_changed",
    "merge_maps",
    "renormalise_maps",
]
