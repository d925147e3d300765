"""The shelf: the images that a probe has been given, as the network takes them; in memory only."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Lock

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.images import ImageLike, ImageSource, Preprocessing
from backlight.web.probe.limits import MOST_IMAGES

_OF_ATLAS = re.compile(r"atlas-([0-9]{1,15})")


@dataclass(frozen=True, eq=False)
class Held:
    """An image on the shelf.

    Attributes:
        id: Its name.
        input: (c, h, w) what the network takes.
        picture: (h, w, 3) the same as it is shown.
        name: Its file, as it was given.
        note: What to know of it; empty for nothing.
    """

    id: str
    input: Float[Tensor, "c h w"]
    picture: UInt8[np.ndarray, "h w 3"]
    name: str
    note: str


class Shelf:
    """The latest images that were given, or taken out of an atlas.

    Args:
        atlas: The atlas, whose preprocessing they get.
        source: Its images, to take the originals; None takes those that the atlas keeps, which are compressed.
        lock: Held while the atlas is read.
        preprocessing: That of the network, where it is a function, which the atlas cannot hold; None takes the atlas's.
    """

    def __init__(
        self, atlas: Atlas, source: ImageSource | None, lock: Lock, preprocessing: Preprocessing | None = None
    ) -> None:
        self._atlas, self._source, self._lock = atlas, source, lock
        self._preprocessing = atlas.preprocessing if preprocessing is None else preprocessing
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._own = Lock()

    def put(self, content: bytes, name: str) -> Held:
        """Keep a picture that was uploaded, decoded as a build decodes.

        Raises:
            ImageError: It cannot be read as an image, or has too many pixels.
        """
        own = hashlib.blake2b(content, digest_size=8).hexdigest()
        return self._keep(own, content, self._preprocessing, PurePosixPath(name).name, "")

    def get(self, image_id: str) -> Held:
        """Return an image of the shelf, or of the atlas by `atlas-ID`.

        Raises:
            BadInputError: There is none of this name any more.
        """
        with self._own:
            if image_id in self._held:
                self._held.move_to_end(image_id)
                return self._held[image_id]
        found = _OF_ATLAS.fullmatch(image_id)
        if found is not None:
            return self._of_atlas(image_id, int(found[1]))
        raise BadInputError("this image is no longer kept here; choose it again")

    def _of_atlas(self, image_id: str, number: int) -> Held:
        atlas, known = self._atlas, self._preprocessing
        with self._lock:
            name = PurePosixPath(atlas.images[number].path).name if number in atlas.images else None
            whole = atlas.images.whole(number) if name is not None and self._source is None else None
        if name is None:
            raise BadInputError(f"the atlas has no image {number}")
        if self._source is not None:
            return self._keep(image_id, self._source.load(number), known, name, "")
        if whole is None:
            raise BadInputError(
                f"the atlas does not keep {name}; serve it with its images, or choose a picture of your own"
            )
        note = "as the atlas keeps it, compressed: values differ a little from the build's"
        as_it_is = Preprocessing(None, known.crop, known.mean, known.std)
        return self._keep(image_id, whole, as_it_is, name, note)

    def _keep(
        self, image_id: str, image: ImageLike, preprocessing: Preprocessing, name: str, note: str
    ) -> Held:
        seen = preprocessing.pictures([image])
        own = preprocessing.normalise(seen)[0]
        held = Held(image_id, own, np.array(seen[0].convert("RGB")), name, note)
        with self._own:
            self._held[image_id] = held
            while len(self._held) > MOST_IMAGES:
                self._held.popitem(last=False)
        return held
