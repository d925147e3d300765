"""A source of crops: more views of a small set of images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import final

from backlight.errors import BadInputError
from backlight.images.deep import Picture
from backlight.images.sources import ImageRecord, ImageSource, check_id

_CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")


@final
class CropSource:
    """Each image of a source as it is and as its four corners.

    Image i of the source gives images 5i to 5i+4: the whole, then the crops at the top left, top right, bottom
    left and bottom right, named `path#top-left` and so on.

    Args:
        source: The images.
        share: Height and width of a corner as shares of the image's, above 0 and below 1.

    Raises:
        BadInputError: A share out of range.

    Example:
        >>> from PIL import Image
        >>> from backlight.images import SequenceSource
        >>> corners = CropSource(SequenceSource([Image.new("RGB", (8, 4))]), share=0.75)
        >>> len(corners), corners.load(4).size
        (5, (6, 3))
    """

    def __init__(self, source: ImageSource, share: float = 0.7) -> None:
        if not 0 < share < 1:
            raise BadInputError(f"the share of a corner must be above 0 and below 1, got {share}")
        self._source, self._share = source, share

    @property
    def name(self) -> str:
        """The source's name."""
        return f"{self._source.name} with corners"

    @cached_property
    def records(self) -> Sequence[ImageRecord]:
        """All images and corners."""
        n_views = 1 + len(_CORNERS)
        return [
            ImageRecord(r.id * n_views + k, f"{r.path}#{view}" if view else r.path, r.label)
            for r in self._source.records
            for k, view in enumerate(("", *_CORNERS))
        ]

    def __len__(self) -> int:
        """Number of images and corners."""
        return len(self._source) * (1 + len(_CORNERS))

    def load(self, image_id: int) -> Picture:
        """Return the image or corner, upright; see `ImageSource.load`.

        Raises:
            ImageError: It cannot be read.
            BadInputError: No image has this id.
        """
        check_id(image_id, self)
        index, view = divmod(image_id, 1 + len(_CORNERS))
        image = self._source.load(index)
        if view == 0:
            return image
        bottom, right = divmod(view - 1, 2)  # 0 or 1 each, in the order of _CORNERS
        height, width = (max(1, round(side * self._share)) for side in (image.height, image.width))
        top, left = bottom * (image.height - height), right * (image.width - width)
        return image.crop((left, top, left + width, top + height))

    def fingerprint(self) -> str:
        """Return a hash of the source's fingerprint and the share."""
        return hashlib.sha256(f"{self._source.fingerprint()} {self._share}".encode()).hexdigest()
