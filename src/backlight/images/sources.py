"""What a source of images promises, and the sources whose images are files or already in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import BacklightWarning, BadInputError, ImageError, tell
from backlight.images.decode import decode_unnamed
from backlight.images.deep import DeepPicture, Picture
from backlight.images.held import TensorLike, is_picture, is_tensor

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".dcm", ".dicom",
})
# fmt: on
ARRAY_SUFFIX = ".npy"


OneImage: TypeAlias = Image.Image | DeepPicture | NDArray[Any] | TensorLike | Path | str
"""What people call one image: a picture in memory, an array (h, w) or (h, w, c), a tensor (c, h, w), or a path."""


def is_one_image(given: object) -> bool:
    """Return whether something is one image, and not several.

    Example:
        >>> is_one_image(np.zeros((8, 8, 3))), is_one_image(np.zeros((2, 8, 8, 3))), is_one_image(["a.png"])
        (True, False, False)
    """
    return is_picture(given) or isinstance(given, Path | str)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a source.

    Attributes:
        id: Position in the source, from 0: the same in every run over the same source.
        path: Where the image is, for display; relative to the source where it has a root, "/" between parts.
        label: Its class, where the source knows one.
    """

    id: int
    path: str
    label: str | None


@runtime_checkable
class ImageSource(Protocol):
    """A fixed sequence of images. Every source can be pickled, and loaded from by several threads at once."""

    @property
    def name(self) -> str:
        """What the user called it: a path, a pattern."""

    @property
    def records(self) -> Sequence[ImageRecord]:
        """All images; the record of image i is at position i."""

    def __len__(self) -> int:
        """Number of images."""

    def load(self, image_id: int) -> Picture:
        """Return the image, upright: 8-bit "RGB", or a `DeepPicture` where it has more bits (see `decode`).

        Raises:
            ImageError: It cannot be read; the text is the reason alone, without the path.
            BadInputError: No image has this id.
        """

    def fingerprint(self) -> str:
        """Return a hash of the names and the sizes in bytes of the images, in order: 64 hex digits.

        Cheap: no image is read. So an image replaced by one of the same name and the same number of bytes is
        not noticed.
        """


def check_id(image_id: int, source: ImageSource) -> None:
    """Raise `BadInputError` unless the source has an image of this id."""
    if not 0 <= image_id < len(source):
        raise BadInputError(
            f"image id {image_id} is out of range for {source.name!r} ({len(source)} images, from 0)"
        )


def digest(entries: Iterable[tuple[str, int]]) -> str:
    """Return the SHA-256 of names and sizes in bytes, in order; lengths keep neighbouring names apart."""
    sha = hashlib.sha256()
    for name, n_bytes in entries:
        encoded = name.encode("utf-8", "surrogateescape")
        sha.update(b"%d:%b:%d;" % (len(encoded), encoded, n_bytes))
    return sha.hexdigest()


def is_image_name(name: str) -> bool:
    """Return whether the name ends as image files do, upper or lower case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122  (100,000 Paths are slow)


def is_array_name(name: str) -> bool:
    """Return whether the name ends as files of one NumPy array do."""
    return name.lower().endswith(ARRAY_SUFFIX)


def choose_pictures(names: Sequence[str], place: str) -> list[int]:
    """Return which of the names are the pictures of a place: the image files, or the arrays where there are none.

    A .npy file beside image files is usually something else (features, masks), so it is left out with a warning.

    Args:
        names: Of image files and arrays.
        place: Where they are, for messages.

    Example:
        >>> choose_pictures(["b.npy", "a.npy"], "here")
        [0, 1]
    """
    images = [i for i, name in enumerate(names) if not is_array_name(name)]
    n_arrays = len(names) - len(images)
    if images and n_arrays:
        what = "1 .npy file" if n_arrays == 1 else f"{n_arrays} .npy files"
        tell(
            BacklightWarning(
                f"{what} beside the images of {place!r} not read; to read arrays, name them in a list file"
            )
        )
    return images or list(range(len(names)))


def storable(name: str) -> str:
    """Return the name with bytes that are not UTF-8 written as \\xNN, so that any file can hold it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@final
class FileSource:
    """Image files below one folder, named one by one.

    Example:
        >>> source = FileSource("two", Path("photos"), ["cat/1.jpg", "cat/2.jpg"], ["cat", "cat"])
        >>> source.records[1]
        ImageRecord(id=1, path='cat/2.jpg', label='cat')
    """

    def __init__(
        self, name: str, root: Path, files: Sequence[str], labels: Sequence[str | None] | None = None
    ) -> None:
        """Take the files in the order given.

        Args:
            name: Shown to the user.
            root: What the files are relative to.
            files: One path each, relative or absolute. They need not exist: `load` reports those that do not.
            labels: The class of each, or None where it has none.

        Raises:
            BadInputError: There are not as many labels as files.
        """
        labels = [None] * len(files) if labels is None else labels
        if len(labels) != len(files):
            raise BadInputError(
                f"{name!r} has {len(files)} files and {len(labels)} labels; give one label each"
            )
        self._root = root.absolute()
        self._files = tuple(files)
        self.name = name
        self.records = tuple(
            ImageRecord(i, storable(file), label)
            for i, (file, label) in enumerate(zip(files, labels, strict=True))
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def load(self, image_id: int) -> Picture:
        """Return the decoded image; see `ImageSource.load`."""
        check_id(image_id, self)
        return decode_unnamed(self._root / self._files[image_id])

    def fingerprint(self) -> str:
        """Return the hash of names and sizes; see `ImageSource.fingerprint`. A missing file counts as -1."""
        return digest((file, file_size(self._root / file)) for file in self._files)


@final
class SequenceSource:
    """Images from a Python sequence: Pillow images, arrays, tensors, or paths relative to the current folder.

    Example:
        >>> source = SequenceSource([Image.new("L", (2, 2), 255)], labels=["white"])
        >>> source.load(0).getpixel((0, 0))
        (255, 255, 255)
    """

    def __init__(
        self,
        images: Sequence[OneImage],
        labels: Sequence[str | None] | None = None,
        name: str = "memory",
    ) -> None:
        """Take the images in the order given.

        Args:
            images: Kept as they are, not copied.
            labels: The class of each, or None where it has none.
            name: Shown to the user.

        Raises:
            BadInputError: No images, something other than an image among them, or not one label for each.
        """
        labels = [None] * len(images) if labels is None else labels
        if len(images) == 0:
            raise BadInputError("got no images; give at least one")
        if len(labels) != len(images):
            raise BadInputError(f"got {len(images)} images and {len(labels)} labels; give one label each")
        for i, image in enumerate(images):
            if not is_one_image(image):
                raise BadInputError(
                    f"image {i} of the sequence is a {type(image).__name__}; give Pillow images, arrays, "
                    "tensors (c, h, w) or paths"
                )
        self._images = tuple(images)
        self.name = name
        self.records = tuple(
            ImageRecord(i, storable(str(image)) if isinstance(image, Path | str) else f"image {i}", label)
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def load(self, image_id: int) -> Picture:
        """Return the decoded image; see `ImageSource.load`."""
        check_id(image_id, self)
        return decode_unnamed(self._images[image_id])

    def fingerprint(self) -> str:
        """Return the hash of names and sizes; see `ImageSource.fingerprint`.

        An image in memory has no name, so its pixels are hashed instead.
        """
        return digest(map(self._entry, self._images))

    @staticmethod
    def _entry(image: OneImage) -> tuple[str, int]:
        if isinstance(image, Path | str):
            return str(image), file_size(Path(image))
        return f"{_size(image)}: {pixel_hash(image)}", 0


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, for a fingerprint; -1 where there is none."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError: a name with a null byte
        return -1


def _size(image: Any) -> str:
    if is_tensor(image):
        return " x ".join(map(str, image.shape[-2:]))
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
    return f"{height} x {width}"


def pixel_hash(image: OneImage) -> str:
    """Return a hash of the pixels of an image, or why there are none."""
    try:
        picture = decode_unnamed(image)
    except ImageError as error:
        return str(error)
    if isinstance(picture, Image.Image):
        return hashlib.sha256(picture.tobytes()).hexdigest()
    values = np.ascontiguousarray(picture.values)
    return hashlib.sha256(f"{values.dtype} {values.shape} ".encode() + values.tobytes()).hexdigest()
