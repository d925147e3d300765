"""What `project` and `superpose` draw of an image: it, the projection, and one over the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from backlight.images import Picture
from backlight.projection.pictures import describe_seed as describe_seed
from backlight.render import Scaling, blend, scale

if TYPE_CHECKING:
    from torch import Tensor

    from backlight.network import Network

Views: TypeAlias = list[tuple[str, Image.Image | np.ndarray]]


def prepared(net: Network, images: Sequence[Path]) -> tuple[list[Picture], Tensor]:
    """Return the pictures as the network sees them, and the inputs (n, c, h, w) that are made of them."""
    assert net.preprocessing is not None  # the command line gives every network one
    pictures = net.preprocessing.pictures(images)
    return pictures, net.preprocessing.normalise(pictures)


def three_views(name: str, picture: Picture, signal: Tensor, scaling: Scaling, what: str) -> Views:
    """Return a picture, the projection (c, h, w), and one over the other, each with its caption."""
    shown = picture.convert("RGB")
    values = signal.permute(1, 2, 0).cpu().numpy()  # to (h, w, c), as pictures are
    over = blend(np.asarray(shown), values, scaling)
    return [(name, shown), (what, scale(values, scaling)), ("both", over)]
