"""Correspondence: the same part masked in several images; does it change a layer alike (Table 1)?"""

from backlight.studies.correspondence.parts import MarkedImage, read_parts
from backlight.studies.correspondence.study import Config, Correspondence, default_layers, run

__all__ = [
    "Config",
    "Correspondence",
    "MarkedImage",
    "default_layers",
    "read_parts",
    "run",
]
