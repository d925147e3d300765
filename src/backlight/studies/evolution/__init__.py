"""Evolution: the strongest units of feature maps, projected, at each step of a training.

What a file holds is read without PyTorch, so that a site shows it at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
