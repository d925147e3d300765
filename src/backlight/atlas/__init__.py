"""Atlas: one SQLite file with every feature map's hits, their patches and projections."""

from backlight.atlas.build import build
from backlight.atlas.hits import FeatureMap, Hit, SkippedImage, StoredImage
from backlight.atlas.plan import Maps, Plan, make_plan
from backlight.atlas.reader import Atlas, AtlasImages, AtlasLayer, open_atlas

__all__ = [
    "Atlas",
    "AtlasImages",
    "AtlasLayer",
    "FeatureMap",
    "Hit",
    "Maps",
    "Plan",
    "SkippedImage",
    "StoredImage",
    "build",
    "make_plan",
    "open_atlas",
]
