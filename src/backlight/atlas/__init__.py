"""Atlas: one SQLite file with every feature map's hits, their patches and projections.

Reading one does not import torch; what builds one is imported when it is used.
"""

from typing import TYPE_CHECKING

from backlight.atlas.advice import rules_by_evidence
from backlight.atlas.evidence import keep_evidence
from backlight.atlas.layers import AtlasLayer
from backlight.atlas.listed import AtlasImages
from backlight.atlas.origin import keep_origin
from backlight.atlas.reader import Atlas, open_atlas
from backlight.atlas.records import Evidence, FeatureMap, Hit, StoredImage
from backlight.atlas.verify import Verified, verify
from backlight.lazy import exports

if TYPE_CHECKING:
    from backlight.atlas.building import build, execute
    from backlight.engines.estimate import Estimate, estimate
    from backlight.engines.plan import Maps, Plan, plan_build

__all__ = [
    "Atlas",
    "AtlasImages",
    "AtlasLayer",
    "Estimate",
    "Evidence",
    "FeatureMap",
    "Hit",
    "Maps",
    "Plan",
    "StoredImage",
    "Verified",
    "build",
    "estimate",
    "execute",
    "keep_evidence",
    "keep_origin",
    "open_atlas",
    "plan_build",
    "rules_by_evidence",
    "verify",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "backlight.atlas.building": ("build", "execute"),
        "backlight.engines.estimate": ("Estimate", "estimate"),
        "backlight.engines.plan": ("Maps", "Plan", "plan_build"),
    },
)
