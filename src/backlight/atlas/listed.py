"""The images that an atlas lists: those that were read, and those that could not be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from backlight.atlas import checks
from backlight.atlas.checksums import BLOCK, place
from backlight.atlas.damage import damaged, reading
from backlight.atlas.file import AtlasFile
from backlight.atlas.sources import StoredImage
from backlight.images.skipped import Skipped
from backlight.storage.tiles import decode_picture


class AtlasImages(Mapping[int, StoredImage]):
    """The images of an atlas by id.

    Args:
        file: The atlas.
        n_images: How many images the set has, readable or not.
        size: Height and width of a preprocessed image.
    """

    def __init__(self, file: AtlasFile, n_images: int, size: tuple[int, int]) -> None:
        self._file, self._n_images, self._size = file, n_images, size
        self._block: dict[int, StoredImage] = {}
        self._counted: tuple[int, int] | None = None

    def __getitem__(self, image_id: int) -> StoredImage:
        """Return an image; KeyError if it was skipped or never there."""
        if image_id not in self._block:
            self._block = self.block(image_id // BLOCK)
        return self._block[image_id]

    def __len__(self) -> int:
        """Return the number of images that were read."""
        return self.n_listed[0]

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
        if not self._file.has_bands:
            return None
        where = place("picture", (image_id,))
        (rows,) = self._file.group("picture", image_id)
        if not rows:
            return None
        with reading(self._file.path, where):
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
