"""Inputs: pictures as an adaptive network takes them, gray or colour, of one size, contrast-normalised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    Items,
    OneImage,
    Picture,
    RangeWatch,
    Skipped,
    decode,
    listed_images,
)
from backlight.progress import Watching, as_progress, shows_progress

_WHITE = 255.0

Pictures = Tensor | OneImage | Items | ImageSource


def prepare(config: AdaptiveConfig, images: Pictures) -> Float[Tensor, "n c h w"]:
    """Return images as the network takes them.

    Args:
        config: The network.
        images: Pictures, as `open_images` takes them, or their paths; or a tensor of floats (c, h, w) or (n, c, h, w),
            taken as prepared already.

    Returns:
        (n, c, h, w) float32. A picture keeps its proportions: it is resized to fit the configured size, its contrast is
        normalised, then it is centred on zeros.

    Raises:
        BadInputError: No image; a tensor of other channels, smaller than a filter, or with values that are not finite.
        ImageError: A picture cannot be read.
    """
    if isinstance(images, Tensor) and images.is_floating_point():
        return _checked(config, images)
    given = listed_images(images)
    if not given:
        raise BadInputError("an adaptive network needs at least 1 image, got none")
    pictures = [_resized(config, decode(image, config.channels)) for image in given]
    RangeWatch(advises=False).see(pictures)
    return torch.stack([_prepared(config, picture) for picture in pictures])


@shows_progress
def prepare_all(
    config: AdaptiveConfig,
    source: ImageSource,
    ids: Sequence[int],
    memory_bytes: int,
    progress: Watching = None,
) -> TrainingImages:
    """Return images of a source as one array, in memory up to a limit, beyond it in a file.

    Args:
        config: The network.
        source: Where the images are.
        ids: Ids of the images to take.
        memory_bytes: Memory limit of the array.
        progress: True shows bars; a function is called after each image.

    Raises:
        BadInputError: No image can be read.
    """
    shape = (len(ids), config.channels, *config.size)
    found: NDArray[np.float32] = Shelf(memory_bytes).room(shape, np.float32)
    kept: list[int] = []
    skipped: list[Skipped] = []
    for image_id, own, _ in readable(config, source, ids, skipped, progress):
        found[len(kept)] = own.numpy()
        kept.append(image_id)
    if not kept:
        reason = f"; the first: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise BadInputError(f"none of the {len(ids)} images of {source.name!r} can be read{reason}")
    # rows of images that cannot be read are left over at the end
    return TrainingImages(found[: len(kept)], tuple(kept), tuple(skipped))


@shows_progress
def readable(
    config: AdaptiveConfig,
    source: ImageSource,
    ids: Sequence[int],
    skipped: list[Skipped],
    progress: Watching = None,
) -> Iterator[tuple[int, Float[Tensor, "c h w"], Picture]]:
    """Yield the images of a source that can be read: id, prepared, and unchanged.

    Args:
        config: The network.
        source: Where the images are.
        ids: Ids of the images to take.
        skipped: Images that cannot be read are appended here.
        progress: True shows bars; a function is called after each image.
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
        as_progress(progress)("prepare", done, len(ids))


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Prepared images of a source.

    Attributes:
        array: (n, c, h, w) float32.
        ids: Their ids in the source.
        skipped: Images that could not be read.
    """

    array: NDArray[np.float32]
    ids: tuple[int, ...]
    skipped: tuple[Skipped, ...]


def picture(config: AdaptiveConfig, image: Picture) -> Image.Image:
    """Return a picture as `prepare` resizes it, without contrast normalisation, centred on mid-grey."""
    small = _resized(config, decode(image, config.channels)).convert("L" if config.channels == 1 else "RGB")
    height, width = config.size
    whole = Image.new(small.mode, (width, height), 128 if config.channels == 1 else (128, 128, 128))
    whole.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return whole


def _prepared(config: AdaptiveConfig, resized: Picture) -> Float[Tensor, "c h w"]:
    """Return a resized picture as the network takes it."""
    if isinstance(resized, DeepPicture):
        # planes are (c, h, w) in 0..1; grey levels as for 8-bit pictures
        small = torch.from_numpy(resized.planes(config.channels))[None] * _WHITE
    else:
        small = TF.pil_to_tensor(resized).float()[None]
    if config.contrast is not None:
        small = _normalised(config.contrast, small)
    # centred on zeros: small is (1, c, h, w), whole (c, H, W)
    whole = torch.zeros(config.channels, *config.size)
    top, left = ((own - side) // 2 for own, side in zip(config.size, small.shape[2:], strict=True))
    whole[:, top : top + small.shape[2], left : left + small.shape[3]] = small[0]
    return whole


def _normalised(contrast: ContrastNormalisation, small: Tensor) -> Tensor:
    """Return a normalised picture; one that is too narrow counts as one that cannot be read."""
    try:
        return contrast(small)
    except BadInputError as error:
        raise ImageError(str(error)) from error


def _resized(config: AdaptiveConfig, image: Picture) -> Picture:
    """Return a picture in its own proportions, as large as fits; the range of more than 8 bits becomes 0..1."""
    # the smaller factor: the other side then fits too
    scale = min(config.size[0] / image.height, config.size[1] / image.width)
    size = [max(1, round(image.height * scale)), max(1, round(image.width * scale))]
    if isinstance(image, DeepPicture):
        return image.ranged().resized((size[0], size[1]), "bicubic")
    found: Image.Image = TF.resize(image, size, InterpolationMode.BICUBIC, antialias=True)
    return found


def _checked(config: AdaptiveConfig, images: Tensor) -> Tensor:
    batch = images[None] if images.dim() == 3 else images
    if batch.dim() != 4 or not len(batch):
        raise BadInputError(
            f"images must be (n, c, h, w) or (c, h, w), at least one, got {tuple(images.shape)}"
        )
    if batch.shape[1] != config.channels:
        wanted = "gray images, 1 channel" if config.channels == 1 else "colour images, 3 channels"
        raise BadInputError(
            f"the network takes {wanted}, got {batch.shape[1]}; pass pictures, which are converted, "
            f"or use a network of AdaptiveConfig(channels={batch.shape[1]})"
        )
    check_size(config, (batch.shape[2], batch.shape[3]))
    batch = batch.float()
    if not batch.isfinite().all():
        raise BadInputError("the images hold NaN or infinite values; look at how they were made")
    return batch
