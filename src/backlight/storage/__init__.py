"""Storage: files that are written whole or not at all, locks between runs, and arrays read from untrusted files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
