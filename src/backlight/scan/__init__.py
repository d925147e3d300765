"""Scan: the mergeable top-k, statistics, and the pass over the images."""

import lazy_loader

# Readers of an atlas need only the bins of histograms, and no PyTorch: each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
