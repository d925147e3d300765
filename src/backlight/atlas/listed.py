"""The images that an atlas lists: those that were read, and those that could not be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from PIL import Image

from backlight.atlas import checks
from backlight.atlas.checksums import BLOCK, place
from backlight.atlas.damage import damaged, reading
from backlight.atlas.file import AtlasFile
from backlight.atlas.sources import StoredImage
from backlight.images.skipped import Skipped
from backlight.storage.tiles import decode_picture
from backlight.text import counted

BLOCKS_KEPT, KEPT_BYTES = 64, 64_000_000
"""What is kept of the latest that was read: blocks of the list, and bytes of the pixels of whole images."""


class AtlasImages(Mapping[int, StoredImage]):
    """The images of an atlas by id; the latest that were asked for are kept, since many hits share an image.

    Args:
        file: The atlas.
        n_images: How many images the set has, readable or not.
        size: Height and width of a preprocessed image.
    """

    def __init__(self, file: AtlasFile, n_images: int, size: tuple[int, int]) -> None:
        self._file, self._n_images, self._size = file, n_images, size
        # plain attributes, not methods in a cache: what one atlas keeps goes with it
        self._kept_block = lru_cache(BLOCKS_KEPT)(self.block)
        self._kept_whole = lru_cache(max(1, KEPT_BYTES // (3 * size[0] * size[1])))(self._read_whole)
        self._counted: tuple[int, int] | None = None

    def __getitem__(self, image_id: int) -> StoredImage:
        """Return an image; KeyError if it was skipped or never there."""
        found = self._kept_block(image_id // BLOCK)
        if image_id not in found:  # a build may just have written it
            self._kept_block.cache_clear()
            found = self._kept_block(image_id // BLOCK)
        return found[image_id]

    def __len__(self) -> int:
        """Return the number of images that were read."""
        return self.n_listed[0]

    def __repr__(self) -> str:
        """Return how many images the set has."""
        return f"AtlasImages({counted(self._n_images, 'image')})"

    def __iter__(self) -> Iterator[int]:
        """Yield the ids."""
        for number in range(-(-sum(self.n_listed) // BLOCK)):
            yield from self.block(number)

    def block(self, number: int) -> dict[int, StoredImage]:
        """Return the images of a block, by id: those whose ids, divided by `checksums.BLOCK`, are its number."""
        (rows,) = self._file.group("image", number)
        with reading(self._file.path, place("image", (number,))):
            return {image_id: _stored_image(image_id, *values) for image_id, *values in rows}

    def whole(self, image_id: int) -> Image.Image | None:
        """Return a whole image as the network saw it (RGB).

        None where the atlas does not keep it: only the images of hits of projected maps are kept, and of examples.

        Raises:
            DamagedAtlasError: It is not what was written.
        """
        try:
            # a copy: whoever gets an image may draw on it
            return self._kept_whole(image_id).copy()
        except KeyError:
            return None

    def _read_whole(self, image_id: int) -> Image.Image:
        """Return a whole image; KeyError where there is none, which is not kept: a build may write it yet."""
        (rows,) = self._file.group("picture", image_id) if self._file.has_bands else ([],)
        if not rows:
            raise KeyError(image_id)
        with reading(self._file.path, place("picture", (image_id,))):
            return decode_picture(checks.blob(rows[0][0], "picture"), self._size)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The pictures that could not be read."""
        where = "table skipped"
        numbers = self._file.rows(where, f"SELECT DISTINCT image_id / {BLOCK} FROM skipped ORDER BY 1")
        with reading(self._file.path, where):
            blocks = [checks.whole(number, "image_id") for (number,) in numbers]
        found: list[Skipped] = []
        for number in blocks:
            (rows,) = self._file.group("skipped", number)
            with reading(self._file.path, place("skipped", (number,))):
                found += [_skipped(*row) for row in rows]
        return tuple(found)

    @property
    def n_listed(self) -> tuple[int, int]:
        """Number of images that were read, and of those that could not be.

        Raises:
            DamagedAtlasError: They are not as many as the scan has been through.
        """
        if self._counted is not None:
            return self._counted
        # sum, not count: SQLite counts without steps, so that nothing could stop it (`limit_steps`)
        query = (
            "SELECT (SELECT coalesce(sum(1), 0) FROM image), (SELECT coalesce(sum(1), 0) FROM skipped), "
            "(SELECT n_done FROM scan_state), (SELECT value FROM meta WHERE key = 'phase')"
        )
        ((read, skipped, n_done, phase),) = self._file.rows("tables image and skipped", query)
        is_done = phase != '"scan"'
        wanted = self._n_images if is_done else n_done or 0
        if read + skipped != wanted:
            reason = f"{wanted} images were scanned, but {read + skipped} are listed"
            raise damaged(self._file.path, "tables image and skipped", reason)
        self._counted = (read, skipped) if is_done else None
        return read, skipped


def _stored_image(image_id: Any, path: Any, label: Any, height: Any, width: Any) -> StoredImage:
    return StoredImage(
        checks.whole(image_id, "image_id"),
        checks.words(path, "path", checks.LONGEST_PATH),
        None if label is None else checks.words(label, "label", checks.LONGEST_PATH),
        (checks.whole(height, "height", 1), checks.whole(width, "width", 1)),
    )


def _skipped(image_id: Any, path: Any, reason: Any) -> Skipped:
    return Skipped(
        checks.whole(image_id, "image_id"),
        checks.words(path, "path", checks.LONGEST_PATH),
        checks.words(reason, "reason", checks.LONGEST_PATH),
    )
