"""The pictures of hits, as the network sees them: read when they are needed, and kept for the next group."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.images import ImageSource, Picture, Preprocessing

_KEPT_PICTURES = 512


class Pictures:
    """The latest pictures, as the network sees them; bounded, so that memory does not grow with the set.

    Args:
        source: Where the images are.
        preprocessing: How they become inputs.
    """

    def __init__(self, source: ImageSource, preprocessing: Preprocessing) -> None:
        self._source, self._preprocessing = source, preprocessing
        self._kept: OrderedDict[int, Picture] = OrderedDict()

    def of(self, image_ids: Iterable[int]) -> dict[int, Picture]:
        """Return the pictures of some images, each once, by image id."""
        return {image_id: self._picture(image_id) for image_id in image_ids}

    def _picture(self, image_id: int) -> Picture:
        # The least recently used come first and go first: groups follow each other image by image.
        if image_id not in self._kept:
            self._kept[image_id] = self._preprocessing.picture(self._source.load(image_id))
            if len(self._kept) > _KEPT_PICTURES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(image_id)
        return self._kept[image_id]


def shown(picture: Picture) -> NDArray[np.uint8]:
    """Return the pixels of a picture as people see it, 8 bits: "L" of grey, "RGB" of colour."""
    is_grey = picture.mode == "L" if isinstance(picture, Image.Image) else picture.values.ndim == 2
    return np.asarray(picture.convert("L" if is_grey else "RGB"))
