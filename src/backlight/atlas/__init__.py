"""Atlas: one SQLite file with every feature map's hits, their patches and projections."""

import lazy_loader

# Reading an atlas needs no PyTorch, building one does: each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
