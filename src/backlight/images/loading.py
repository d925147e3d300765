"""Batches of preprocessed images, decoded ahead in threads."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError, ImageError
from backlight.images.deep import Picture
from backlight.images.preprocessing import Preprocessing
from backlight.images.quiet import quiet_pillow
from backlight.images.ranges import RangeWatch
from backlight.images.reuse import reused_memory
from backlight.images.skipped import Skipped
from backlight.images.sources import ImageSource


@dataclass(frozen=True, eq=False)
class Batch:
    """The images of one slice of the ids.

    Attributes:
        ids: Those that could be read, in the order asked for.
        tensor: Their preprocessed pixels, float32; n may be 0.
        sizes: Height and width of each as it was, upright, before preprocessing.
        skipped: Those that could not be read.
    """

    ids: tuple[int, ...]
    tensor: Float[Tensor, "n c h w"]
    sizes: tuple[tuple[int, int], ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class _Decoded:
    id: int
    picture: Picture
    size: tuple[int, int]


def load_batches(
    source: ImageSource, preprocessing: Preprocessing, ids: Sequence[int], batch_size: int, workers: int = 2
) -> Generator[Batch, None, None]:
    """Yield the images of `ids` in batches, the next one being decoded while the last is used.

    A `RangeWarning` says, once, that pictures of more than 8 bits use little of the range or leave it.

    Batches are fixed slices of `ids`: an image that cannot be read is missing from its slice, and a slice of
    which none can be read is still yielded, with n = 0. So the number of threads never changes the batches.

    Args:
        source: Where the images are.
        preprocessing: What is done to each.
        ids: Which images, in which order.
        batch_size: Length of a slice, at least 1. At most two slices of pictures are held at a time.
        workers: Number of threads that decode, at least 1.

    Returns:
        A generator; closing it ends the threads.

    Raises:
        BadInputError: `batch_size` or `workers` below 1 (at once), or an id that the source does not have.
            Anything but `ImageError` that the source raises is passed on too.

    Example:
        >>> from PIL import Image
        >>> from backlight.images import SequenceSource
        >>> images = SequenceSource([Image.new("RGB", (9, 6))] * 3)
        >>> [batch.ids for batch in load_batches(images, Preprocessing.default(3, 4), range(3), batch_size=2)]
        [(0, 1), (2,)]
    """
    if batch_size < 1 or workers < 1:
        raise BadInputError(f"batch_size and workers must be at least 1, not {batch_size} and {workers}")
    slices = [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]
    return _batches(source, preprocessing, slices, workers)


def _batches(
    source: ImageSource, preprocessing: Preprocessing, slices: Sequence[Sequence[int]], workers: int
) -> Generator[Batch, None, None]:
    def read(image_id: int) -> _Decoded | Skipped:
        try:
            image = source.load(image_id)
            return _Decoded(image_id, preprocessing.picture(image), (image.height, image.width))
        except ImageError as error:
            return Skipped(image_id, source.records[image_id].path, str(error))

    watch = RangeWatch()
    with quiet_pillow(), reused_memory():
        pool = ThreadPoolExecutor(workers, thread_name_prefix="backlight-decode")
        try:
            ahead: list[Future[_Decoded | Skipped]] = []
            # Threads get the next slice before the last one is waited for; an empty one at the end fetches the last.
            for ids in [*slices, ()]:
                current, ahead = ahead, [pool.submit(read, int(image_id)) for image_id in ids]
                if current:
                    results = [future.result() for future in current]
                    watch.see([result.picture for result in results if isinstance(result, _Decoded)])
                    yield _batch(results, preprocessing)
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(results: Sequence[_Decoded | Skipped], preprocessing: Preprocessing) -> Batch:
    decoded = [result for result in results if isinstance(result, _Decoded)]
    return Batch(
        ids=tuple(one.id for one in decoded),
        tensor=preprocessing.normalise([one.picture for one in decoded]),
        sizes=tuple(one.size for one in decoded),
        skipped=tuple(result for result in results if isinstance(result, Skipped)),
    )
