"""The atlas in the browser: one page for each layer, feature map and image, served or exported as plain files.

`Site` turns a path such as `layer-conv1.html` into the bytes of a page, a sheet of pictures or a script; `serve`
answers with them, `export` writes them. Both render the same templates from the same contexts, so an exported site
works by double click. Nothing here imports torch: a site is made from the atlas alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
