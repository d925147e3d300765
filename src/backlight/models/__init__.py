"""Models: their names, where their weights come from, and how many input channels they have."""

from backlight.models.channels import input_channels
from backlight.models.loaded import LoadedModel
from backlight.models.loading import load_weights
from backlight.models.specs import FORMS, is_code, load_model

__all__ = ["FORMS", "LoadedModel", "input_channels", "is_code", "load_model", "load_weights"]
