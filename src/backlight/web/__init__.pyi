# What the room offers: read by type checkers, and by `lazy_loader`, which imports each name when it is first used.

from .exporting import Exported as Exported
from .exporting import export as export
from .serving import serve as serve
from .site import Site as Site
