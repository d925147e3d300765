# The doors of Backlight: read by type checkers, and by `lazy_loader`, which imports each name when it is first used.

from . import adaptive as adaptive
from . import atlas as atlas
from . import errors as errors
from . import geometry as geometry
from . import images as images
from . import inversion as inversion
from . import models as models
from . import network as network
from . import operators as operators
from . import projection as projection
from . import render as render
from . import storage as storage
from . import studies as studies
from . import text as text
from .atlas import Atlas as Atlas
from .atlas import AtlasLayer as AtlasLayer
from .atlas import FeatureMap as FeatureMap
from .atlas import Hit as Hit
from .atlas import Plan as Plan
from .atlas import build as build
from .atlas import compare as compare
from .atlas import extend as extend
from .atlas import open_atlas as open_atlas
from .atlas import plan_build as plan_build
from .errors import BacklightError as BacklightError
from .geometry import Box as Box
from .geometry import ReceptiveField as ReceptiveField
from .images import FunctionPreprocessing as FunctionPreprocessing
from .images import Preprocessing as Preprocessing
from .images import open_images as open_images
from .inversion import Inversion as Inversion
from .inversion import invert as invert
from .models.renormalise import renormalise_filters_ as renormalise_filters_
from .models.zfnet import zfnet as zfnet
from .network import Coverage as Coverage
from .network import Layer as Layer
from .network import Network as Network
from .network import capture as capture
from .operators.ruleset import DECONVNET as DECONVNET
from .operators.ruleset import GRADIENT as GRADIENT
from .operators.ruleset import GUIDED as GUIDED
from .operators.ruleset import MASKED as MASKED
from .operators.ruleset import RuleSet as RuleSet
from .operators.ruleset import parse_rules as parse_rules
from .projection import Projection as Projection
from .projection import Unit as Unit
from .projection import Units as Units
from .projection import picture as picture
from .projection import project as project
from .projection import strongest as strongest
from .projection import superpose as superpose
from .scan import Scan as Scan
from .scan import scan as scan

__version__: str
__all__: list[str]
