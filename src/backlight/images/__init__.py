"""Where images come from: sources with stable ids, decoding, preprocessing, batches."""

import lazy_loader

# Only batches and normalising need PyTorch, which takes seconds to import: each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
