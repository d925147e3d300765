"""Atlas: one SQLite file with every feature map's hits, their patches and projections."""

from backlight.atlas.building import build
from backlight.atlas.evidence import Evidence, best_rules, keep_evidence
from backlight.atlas.listed import AtlasImages
from backlight.atlas.origin import keep_origin
from backlight.atlas.reader import Atlas, AtlasLayer, open_atlas
from backlight.atlas.records import FeatureMap, Hit, SkippedImage, StoredImage
from backlight.atlas.verify import Verified, verify
from backlight.engines.plan import Maps, Plan, make_plan

__all__ = [
    "Atlas",
    "AtlasImages",
    "AtlasLayer",
    "Evidence",
    "FeatureMap",
    "Hit",
    "Maps",
    "Plan",
    "SkippedImage",
    "StoredImage",
    "Verified",
    "best_rules",
    "build",
    "keep_evidence",
    "keep_origin",
    "make_plan",
    "open_atlas",
    "verify",
]
