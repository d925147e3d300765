"""From what a user calls a set of images to the source that reads it."""

from __future__ import annotations

import glob
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backlight.errors import BadInputError
from backlight.images.files import LIST_SUFFIXES, folder_source, holds_image, list_source
from backlight.images.saved_dataset import DatasetSource, is_saved_dataset
from backlight.images.shards import TarSource, find_shards
from backlight.images.sources import (
    FileSource,
    ImageSource,
    OneImage,
    SequenceSource,
    is_array_name,
    is_image_name,
    is_one_image,
)
from backlight.text import shortened

_COMPRESSED = re.compile(r"\.(tgz|tar\.\w+)$", re.IGNORECASE)


def open_images(
    spec: str | Path | Sequence[OneImage | tuple[OneImage, object]] | OneImage | ImageSource,
) -> ImageSource:
    """Return the source that reads what `spec` names. No image is decoded yet.

    Args:
        spec: One of
            a folder of images, its subfolders giving the labels; or of .npy arrays, one an image;
            a folder of .tar files, one .tar file, or a pattern of them such as "train-{000..012}.tar";
            a folder that Hugging Face's `save_to_disk` wrote for one split;
            a list file (.txt, .csv, .tsv): a path, and maybe a label, on each line;
            one image file or .npy array: a set of one;
            a sequence of Pillow images, arrays (h, w) or (h, w, c), or paths, or of such with a label, as tuples;
            one Pillow image, one array, or an array (n, h, w, c) of several;
            a source, which is returned as it is.

    Raises:
        BadInputError: There is nothing of that name, no image in it, or no telling what is meant.

    Example:
        >>> from PIL import Image
        >>> import numpy as np
        >>> len(open_images([Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8))]))
        2
        >>> open_images([(np.zeros((4, 4), np.uint16), "dark")]).records[0].label
        'dark'
    """
    if isinstance(spec, ImageSource):
        return spec
    if not isinstance(spec, str | Path):
        return _open_memory(spec)
    path = _absolute_home(spec)
    try:
        return _open_path(path)
    except OSError as error:
        raise BadInputError(
            f"cannot open '{shortened(str(path), 200, keep='both')}': {error.strerror}"
        ) from error
    except ValueError as error:  # a null byte; a BadInputError is a ValueError too
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"cannot open {str(path)!r}: {error}") from error


def _absolute_home(spec: str | Path) -> Path:
    try:
        return Path(spec).expanduser()
    except RuntimeError as error:
        raise BadInputError(f"no such user: {str(spec).split('/')[0]!r}; write the whole path") from error


def _open_path(path: Path) -> ImageSource:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if glob.has_magic(str(path)) or "{" in str(path):
            return _open_pattern(str(path))
        raise BadInputError(f"no such file or folder: '{path}'") from None
    if stat.S_ISDIR(mode):
        return _open_folder(path)
    if stat.S_ISREG(mode):
        return _open_file(path)
    raise BadInputError(f"'{path}' is neither a file nor a folder; give images as one of these")


def _open_memory(spec: Any) -> SequenceSource:
    """Return the source of images in memory, or of a sequence of paths."""
    if is_one_image(spec):
        return SequenceSource([spec])
    if (
        not isinstance(spec, Sequence | np.ndarray)
        or isinstance(spec, bytes)
        or getattr(spec, "ndim", 1) == 0
    ):
        raise BadInputError(
            "images are a path, a picture, an array, or a list of these (or of pairs with a label), "
            f"got {type(spec).__name__}; of a torch Dataset, give [dataset[i] for i in range(len(dataset))]"
        )
    images = list(spec)
    if images and all(isinstance(own, tuple) and len(own) == 2 for own in images):
        labels = [None if label is None else str(label) for _, label in images]
        return SequenceSource([own for own, _ in images], labels)
    return SequenceSource(images)


def _open_folder(folder: Path) -> ImageSource:
    if is_saved_dataset(folder):
        return DatasetSource(folder)
    shards = sorted(path for path in folder.glob("*.tar") if not path.name.startswith("."))
    if not shards:
        return folder_source(folder)
    if holds_image(folder):
        raise BadInputError(
            f"folder '{folder}' holds both images and tar shards; give '{folder}/*.tar' for the shards, "
            "or a folder with only the images"
        )
    return TarSource(str(folder), shards)


def _open_file(path: Path) -> ImageSource:
    suffix = path.suffix.lower()
    if suffix == ".tar":
        return TarSource(str(path), [path])
    if _COMPRESSED.search(path.name):
        raise BadInputError(
            f"'{path}' is compressed, so no image in it can be reached directly; make it a plain .tar"
        )
    if suffix in LIST_SUFFIXES:
        return list_source(path)
    if is_image_name(path.name) or is_array_name(path.name):
        return FileSource(str(path), path.parent, [path.name])
    raise BadInputError(
        f"'{path}' is neither an image, a list ({', '.join(sorted(LIST_SUFFIXES))}) nor a .tar file"
    )


def _open_pattern(pattern: str) -> ImageSource:
    shards = find_shards(pattern)
    if not shards:
        raise BadInputError(f"the pattern '{pattern}' finds no file")
    other = next((shard for shard in shards if shard.suffix.lower() != ".tar"), None)
    if other is not None:
        raise BadInputError(
            f"the pattern '{pattern}' matches '{other}', which is not a .tar file; "
            "patterns are for shards, give images as a folder or a list"
        )
    return TarSource(pattern, shards)
