"""From what people hold in memory to the source that reads it: the one place where images in memory come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np

from backlight.errors import BadInputError
from backlight.images.held import (
    Item,
    Items,
    drained,
    is_grey_stack,
    is_labelled,
    is_map_style,
    is_picture,
    is_tensor,
    item_of,
    label_text,
    refuse_loader,
)
from backlight.images.map_datasets import MapSource, refuse_normalised
from backlight.images.sources import ImageSource, OneImage, SequenceSource, is_one_image


def memory_source(given: Any) -> SequenceSource | MapSource:
    """Return the source of images in memory, of a sequence of paths, or of a Dataset; see `open_images`.

    Raises:
        BadInputError: It is no set of images, or a DataLoader; there are none; they are normalised already.
    """
    refuse_loader(given)
    if is_grey_stack(given):
        return _sequence(list(given))
    if is_one_image(given):
        return _sequence([given])
    if is_labelled(given):
        return _sequence([tuple(item_of(given))])
    if is_map_style(given):
        return MapSource(given)
    if not _gives_several(given):
        raise BadInputError(
            "images are a path, a picture, an array, a tensor, a list or generator of these (or of pairs with a "
            f"label), or a torch Dataset, got {type(given).__name__}"
        )
    is_stream = not isinstance(given, Sequence | np.ndarray) and not is_tensor(given)
    return _sequence(drained(given) if is_stream else list(given))


def listed_images(given: Items | OneImage | ImageSource, most: int | None = None) -> list[Any]:
    """Return one image, or several, as a list of what `decode` reads, without their labels.

    Args:
        given: Whatever `open_images` takes, but a path is one image.
        most: The first so many only.

    Raises:
        BadInputError: As for `open_images`.
    """
    if is_grey_stack(given):
        return list(cast(Sequence[Any], given)[:most])
    if is_one_image(given):
        return [given]
    if isinstance(given, list | tuple) and all(map(is_one_image, given)) and not is_labelled(given):
        return list(given[:most])  # as they are, so that an error names the file
    source = given if isinstance(given, ImageSource) else memory_source(given)
    return [source.load(i) for i in islice(range(len(source)), most)]


def _gives_several(given: Any) -> bool:
    is_other = isinstance(given, str | bytes | Mapping) or getattr(given, "ndim", 1) == 0
    return isinstance(given, Iterable) and not is_other


def _sequence(images: list[Any]) -> SequenceSource:
    is_pairs = bool(images) and all(map(_is_pair, images))
    items = [item_of(own) for own in images] if is_pairs else [Item(own, None) for own in images]
    source = SequenceSource([own.image for own in items], [label_text(own.label) for own in items])
    if is_picture(items[0].image):
        refuse_normalised(items[0].image, "the images given")
    return source


def _is_pair(given: Any) -> bool:
    return (isinstance(given, tuple) and len(given) == 2) or isinstance(given, Mapping)
