# What the room offers: read by type checkers, and by `lazy_loader`, which imports each name when it is first used.

from .brightness import scale as scale
from .brightness import stretch as stretch
from .figure import MapPanel as MapPanel
from .figure import layer_figure as layer_figure
from .filters import filter_figure as filter_figure
from .low_pass import box_sides as box_sides
from .low_pass import low_pass as low_pass
from .overlay import blend as blend
from .overlay import mean_patch as mean_patch
from .overlay import overlay_figure as overlay_figure
from .overlay import strip as strip
from .overlay import superpose_tiles as superpose_tiles
from .scaling import DEFAULT_SCALING as DEFAULT_SCALING
from .scaling import Scaling as Scaling
from .scaling import parse_scaling as parse_scaling
from .tiles import Tile as Tile
from .tiles import display_size as display_size
from .tiles import draw_patch as draw_patch
from .tiles import draw_projection as draw_projection
from .tiles import pad as pad
from .zoom import SHARE as SHARE
from .zoom import central as central
from .zoom import cut as cut
from .zoom import into_image as into_image
from .zoom import margin_of as margin_of
from .zoom import zoom as zoom
