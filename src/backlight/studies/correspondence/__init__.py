"""Correspondence: the same part masked in several images; does it change a layer alike (Table 1)?"""

from backlight.studies.correspondence.parts import MarkedImage, read_parts
from backlight.studies.correspondence.result import Correspondence, CorrespondenceConfig
from backlight.studies.correspondence.run import run
from backlight.studies.defaults import late_layers as default_layers

__all__ = [
    "Correspondence",
    "CorrespondenceConfig",
    "MarkedImage",
    "default_layers",
    "read_parts",
    "run",
]
