"""Diagnosis: what is wrong with a network, each finding with a measure, its null and what to try.

What a file holds is read without PyTorch, so that a site shows it at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
