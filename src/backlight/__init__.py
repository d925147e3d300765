"""Backlight shows what the hidden layers of a trained convolutional network respond to.

It shines the activation of a unit back through the network to the pixels (the deconvnet of Zeiler & Fergus,
2013), for every feature map of every layer, over a whole set of images.
"""

import lazy_loader

__version__ = "0.1.0"

# What can be imported from here, and from which room, is listed once, in __init__.pyi. Each name is imported when it
# is first used: PyTorch takes seconds to import, which `backlight --help` and readers of an atlas need not wait for.
__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)

# A star import gives the doors, not the rooms behind them.
_ROOMS = {"adaptive", "atlas", "errors", "geometry", "images", "inversion", "models", "network", "operators"}
_ROOMS |= {"projection", "render", "storage", "studies", "text"}
__all__ = [name for name in _names if name not in _ROOMS]
