"""Adaptive deconvolutional networks: sparse coding and 3-D max pooling in layers that each reconstruct the input.

*Source*: Zeiler, Taylor & Fergus, "Adaptive deconvolutional networks for mid and high level feature learning" (2011).
"""

from backlight.adaptive.config import PRESETS, AdaptiveConfig, LayerConfig, Learning
from backlight.adaptive.contrast import ContrastNormalisation
from backlight.adaptive.decomposition import Activation, Branch, Decomposition
from backlight.adaptive.hits import FilterHit, FoundHits, HitSearch, MapHits
from backlight.adaptive.inference import CODE_VALUES, Codes, CodeValues, LayerCode
from backlight.adaptive.inputs import TrainingImages, prepare_all
from backlight.adaptive.learning import EpochMeasure, LayerMeasure
from backlight.adaptive.net import AdaptiveDeconvNet
from backlight.adaptive.pictures import (
    active_layers,
    decomposition_picture,
    filter_picture,
    layer_picture,
    reconstruction_picture,
    switch_picture,
)
from backlight.adaptive.pooling import SWITCH_MODES, Block, SwitchMode, Unpooling, pool
from backlight.adaptive.search import find_hits
from backlight.adaptive.training import LearningProgress
from backlight.adaptive.trees import tree_picture

__all__ = [
    "CODE_VALUES",
    "PRESETS",
    "SWITCH_MODES",
    "Activation",
    "AdaptiveConfig",
    "AdaptiveDeconvNet",
    "Block",
    "Branch",
    "CodeValues",
    "Codes",
    "ContrastNormalisation",
    "Decomposition",
    "EpochMeasure",
    "FilterHit",
    "FoundHits",
    "HitSearch",
    "LayerCode",
    "LayerConfig",
    "LayerMeasure",
    "Learning",
    "LearningProgress",
    "MapHits",
    "SwitchMode",
    "TrainingImages",
    "Unpooling",
    "active_layers",
    "decomposition_picture",
    "filter_picture",
    "find_hits",
    "layer_picture",
    "pool",
    "prepare_all",
    "reconstruction_picture",
    "switch_picture",
    "tree_picture",
]
