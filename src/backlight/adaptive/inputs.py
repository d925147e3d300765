"""Inputs: pictures as an adaptive network takes them, gray, of one size, contrast-normalised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from backlight.adaptive.config import AdaptiveConfig, check_size
from backlight.adaptive.contrast import ContrastNormalisation
from backlight.adaptive.shelf import Shelf
from backlight.errors import BadInputError, ImageError
from backlight.images import (
    DeepPicture,
    ImageSource,
    OneImage,
    Picture,
    RangeWatch,
    Skipped,
    decode,
    is_one_image,
)

_WHITE = 255.0

Pictures = Tensor | OneImage | Sequence[OneImage]


def prepare(config: AdaptiveConfig, images: Pictures) -> Float[Tensor, "n c h w"]:
    """Return images as the network takes them.

    Args:
        config: The network.
        images: Pictures or their paths; or a tensor (c, h, w) or (n, c, h, w), taken to be prepared already.

    Returns:
        (n, c, h, w) float32. A picture keeps its proportions: its longer side gets the configured size, contrast is
        normalised, then it is put into the middle of zeros.

    Raises:
        BadInputError: A tensor of other channels, smaller than a filter, or with values that are not finite; no image.
        ImageError: A picture cannot be read.
    """
    if isinstance(images, Tensor):
        return _checked(config, images)
    if is_one_image(images):
        images = [images]  # type: ignore[list-item]
    if not len(images):  # type: ignore[arg-type]
        raise BadInputError("an adaptive network needs at least 1 image, but came none")
    pictures = [_resized(config, decode(image, config.channels)) for image in images]  # type: ignore[union-attr]
    RangeWatch(advises=False).see(pictures)
    return torch.stack([_prepared(config, picture) for picture in pictures])


def prepare_all(
    config: AdaptiveConfig,
    source: ImageSource,
    ids: Sequence[int],
    memory_bytes: int,
    told: Callable[[int], None] | None = None,
) -> TrainingImages:
    """Return images of a source as one array, within a bound of memory, else in a file.

    Args:
        config: The network.
        source: Where the images are.
        ids: Which.
        memory_bytes: What the array may take of memory.
        told: Called after each with how many are done.

    Raises:
        BadInputError: No image can be read.
    """
    shape = (len(ids), config.channels, *config.size)
    found: NDArray[np.float32] = Shelf(memory_bytes).room(shape, np.float32)
    kept: list[int] = []
    skipped: list[Skipped] = []
    for image_id, own, _ in readable(config, source, ids, skipped, told):
        found[len(kept)] = own.numpy()
        kept.append(image_id)
    if not kept:
        reason = f"; the first: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise BadInputError(f"none of the {len(ids)} images of {source.name!r} can be read{reason}")
    return TrainingImages(found[: len(kept)], tuple(kept), tuple(skipped))


def readable(
    config: AdaptiveConfig,
    source: ImageSource,
    ids: Iterable[int],
    skipped: list[Skipped],
    told: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, Float[Tensor, "c h w"], Picture]]:
    """Yield those images of a source that can be read: id, prepared, and as it was.

    Args:
        config: The network.
        source: Where the images are.
        ids: Which.
        skipped: Takes those that cannot be read.
        told: Called after each with how many are done.
    """
    watch = RangeWatch(advises=False)
    for done, image_id in enumerate(ids, start=1):
        try:
            loaded = source.load(image_id)
            resized = _resized(config, decode(loaded, config.channels))
            prepared = _prepared(config, resized)
            watch.see([resized])
        except ImageError as error:
            skipped.append(Skipped(image_id, source.records[image_id].path, str(error)))
        else:
            yield image_id, prepared, loaded
        if told is not None:
            told(done)


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The images of a source, prepared.

    Attributes:
        array: (n, c, h, w) float32.
        ids: Which of the source's images they are.
        skipped: Those that could not be read.
    """

    array: NDArray[np.float32]
    ids: tuple[int, ...]
    skipped: tuple[Skipped, ...]


def picture(config: AdaptiveConfig, image: Picture) -> Image.Image:
    """Return what `prepare` makes of a picture before its contrast is normalised, in the middle of mid-grey."""
    small = _resized(config, decode(image, config.channels)).convert("L" if config.channels == 1 else "RGB")
    height, width = config.size
    whole = Image.new(small.mode, (width, height), 128 if config.channels == 1 else (128, 128, 128))
    whole.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return whole


def _prepared(config: AdaptiveConfig, resized: Picture) -> Float[Tensor, "c h w"]:
    """Return a picture that is resized as the network takes it."""
    if isinstance(resized, DeepPicture):
        small = torch.from_numpy(resized.planes(config.channels))[None] * _WHITE
    else:
        small = TF.pil_to_tensor(resized).float()[None]
    if config.contrast is not None:
        small = _normalised(config.contrast, small)
    whole = torch.zeros(config.channels, *config.size)
    top, left = ((own - side) // 2 for own, side in zip(config.size, small.shape[2:], strict=True))
    whole[:, top : top + small.shape[2], left : left + small.shape[3]] = small[0]
    return whole


def _normalised(contrast: ContrastNormalisation, small: Tensor) -> Tensor:
    """Return a picture normalised; one that is too narrow is as one that cannot be read."""
    try:
        return contrast(small)
    except BadInputError as error:
        raise ImageError(str(error)) from error


def _resized(config: AdaptiveConfig, image: Picture) -> Picture:
    """Return a picture in its own proportions, as large as fits; one of more than 8 bits with its range as 0..1."""
    scale = min(config.size[0] / image.height, config.size[1] / image.width)
    size = [max(1, round(image.height * scale)), max(1, round(image.width * scale))]
    if isinstance(image, DeepPicture):
        return image.ranged().resized(size, InterpolationMode.BICUBIC)
    found: Image.Image = TF.resize(image, size, InterpolationMode.BICUBIC, antialias=True)
    return found


def _checked(config: AdaptiveConfig, images: Tensor) -> Tensor:
    batch = images[None] if images.dim() == 3 else images
    if batch.dim() != 4 or not len(batch):
        raise BadInputError(
            f"images are (n, c, h, w) or (c, h, w), at least one, but came {tuple(images.shape)}"
        )
    if batch.shape[1] != config.channels:
        wanted = "gray images, 1 channel" if config.channels == 1 else "colour images, 3 channels"
        raise BadInputError(
            f"the network takes {wanted}, but came {batch.shape[1]}; give pictures, which are turned into that, "
            f"or a network of AdaptiveConfig(channels={batch.shape[1]})"
        )
    check_size(config, (batch.shape[2], batch.shape[3]))
    batch = batch.float()
    if not batch.isfinite().all():
        raise BadInputError("the images hold NaN or infinite values; look at how they were made")
    return batch
