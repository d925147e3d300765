"""Inputs: pictures as an adaptive network takes them, gray, of one size, contrast-normalised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from backlight.adaptive.config import Config, check_size
from backlight.adaptive.contrast import ContrastNormalisation
from backlight.adaptive.training import Shelf
from backlight.errors import BadInputError, ImageError
from backlight.images import ImageSource, Skipped, decode

Pictures = Tensor | Image.Image | str | Path | Sequence[Image.Image | str | Path]


def prepare(config: Config, images: Pictures) -> Float[Tensor, "n c h w"]:
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
    if isinstance(images, (Image.Image, str, Path)):
        images = [images]
    if not len(images):
        raise BadInputError("an adaptive network needs at least 1 image, but came none")
    return torch.stack([_prepared(config, decode(image, config.channels)) for image in images])


def prepare_all(
    config: Config,
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
    config: Config,
    source: ImageSource,
    ids: Iterable[int],
    skipped: list[Skipped],
    told: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, Float[Tensor, "c h w"], Image.Image]]:
    """Yield those images of a source that can be read: id, prepared, and as it was.

    Args:
        config: The network.
        source: Where the images are.
        ids: Which.
        skipped: Takes those that cannot be read.
        told: Called after each with how many are done.
    """
    for done, image_id in enumerate(ids, start=1):
        try:
            loaded = source.load(image_id)
            prepared = _prepared(config, decode(loaded, config.channels))
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


def picture(config: Config, image: Image.Image) -> Image.Image:
    """Return what `prepare` makes of a picture before its contrast is normalised, in the middle of mid-grey."""
    small = _resized(config, decode(image, config.channels))
    height, width = config.size
    whole = Image.new(small.mode, (width, height), 128 if config.channels == 1 else (128, 128, 128))
    whole.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return whole


def _prepared(config: Config, image: Image.Image) -> Float[Tensor, "c h w"]:
    """Return a decoded picture as the network takes it."""
    small = TF.pil_to_tensor(_resized(config, image)).float()[None]
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


def _resized(config: Config, image: Image.Image) -> Image.Image:
    """Return a picture in its own proportions, as large as fits."""
    scale = min(config.size[0] / image.height, config.size[1] / image.width)
    size = [max(1, round(image.height * scale)), max(1, round(image.width * scale))]
    found: Image.Image = TF.resize(image, size, InterpolationMode.BICUBIC, antialias=True)
    return found


def _checked(config: Config, images: Tensor) -> Tensor:
    batch = images[None] if images.dim() == 3 else images
    if batch.dim() != 4 or not len(batch):
        raise BadInputError(
            f"images are (n, c, h, w) or (c, h, w), at least one, but came {tuple(images.shape)}"
        )
    if batch.shape[1] != config.channels:
        wanted = "gray images, 1 channel" if config.channels == 1 else "colour images, 3 channels"
        raise BadInputError(
            f"the network takes {wanted}, but came {batch.shape[1]}; give pictures, which are turned into that, "
            f"or a network of Config(channels={batch.shape[1]})"
        )
    check_size(config, (batch.shape[2], batch.shape[3]))
    batch = batch.float()
    if not batch.isfinite().all():
        raise BadInputError("the images hold NaN or infinite values; look at how they were made")
    return batch
