"""From what a user calls a set of images to the source that reads it."""

from __future__ import annotations

import glob
import os
import re
import stat
from pathlib import Path

from backlight.errors import BadInputError
from backlight.images.addresses import is_address, local_path
from backlight.images.files import LIST_SUFFIXES, folder_source, holds_image, list_source
from backlight.images.held import Items
from backlight.images.memory import memory_source
from backlight.images.mixtures import (
    kind_of_all,
    mixed_with_images,
    packed_kind,
    packed_source,
    packed_suffix,
)
from backlight.images.opening_addresses import open_address
from backlight.images.patterns import find_shards
from backlight.images.saved_dataset import DatasetSource, is_saved_dataset
from backlight.images.sources import (
    FileSource,
    ImageSource,
    OneImage,
    is_array_name,
    is_image_name,
)
from backlight.text import shortened

_LOCAL = ("file://", "local://")
# as a path, "s3://bucket" is "s3:/bucket"; one letter is a drive of Windows
_LIKE_AN_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")
_COMPRESSED = re.compile(r"\.(tgz|tar\.\w+)$", re.IGNORECASE)


def open_images(
    spec: str | Path | OneImage | Items | ImageSource,
) -> ImageSource:
    """Return the source that reads what `spec` names. No image is decoded yet, but a few of a Dataset.

    Args:
        spec: One of
            a folder of images, its subfolders giving the labels; or of .npy arrays, one an image;
            a folder of .tar files, one .tar file, or a pattern of them such as "train-{000..012}.tar";
            the same of .parquet files with a column of images;
            a folder that Hugging Face's `save_to_disk` wrote for one split;
            a list file (.txt, .csv, .tsv): a path or an address, and maybe a label, on each line;
            one image file or .npy array: a set of one;
            the address of any of these but of a dataset that was saved, as a string: "s3://bucket/train-{000..012}.tar",
            "https://host/list.txt", or whatever else fsspec knows (needs `backlight[remote]`);
            a sequence of Pillow images, arrays (h, w) or (h, w, c), tensors (c, h, w) or paths, or of such with a
            label, as tuples; a generator of these, which is read to its end and kept in memory (8 GB at most);
            one of these, an array (n, h, w, c) or a tensor (n, c, h, w) of several, or (n, h, w) of grey ones. An array
            (h, w, c) and a tensor (c, h, w) are one picture where c is 1 to 4, and a stack of grey ones else;
            a torch Dataset, or what else is read by index: its items are read when they are needed;
            a source, which is returned as it is.
            Tensors are uint8, or floats in 0..1 that are not normalised yet.

    Raises:
        BadInputError: There is nothing of that name, no image in it, or no telling what is meant, or a store does not
            answer. Or images in memory are normalised already, or come as a DataLoader.

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
        return memory_source(spec)
    if isinstance(spec, str) and is_address(spec):
        if not spec.startswith(_LOCAL):
            return open_address(spec)
        spec = local_path(spec)
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
        fact = f"no such file or folder: '{path}'"
        if not _LIKE_AN_ADDRESS.match(str(path)):
            raise BadInputError(fact) from None
        kinds = "begins with s3://, https:// or another kind that fsspec knows"
        raise BadInputError(
            fact, python=f"an address is a string that {kinds}", command=f"an address {kinds}"
        ) from None
    if stat.S_ISDIR(mode):
        return _open_folder(path)
    if stat.S_ISREG(mode):
        return _open_file(path)
    raise BadInputError(f"'{path}' is neither a file nor a folder; give images as one of these")


def _open_folder(folder: Path) -> ImageSource:
    if is_saved_dataset(folder):
        return DatasetSource(folder)
    packed = sorted(_packed_in(folder))
    kind = packed_kind([path.name for path in packed], str(folder))
    if kind is None:
        return folder_source(folder)
    if holds_image(folder):
        raise mixed_with_images(str(folder), kind)
    return packed_source(kind, str(folder), packed)


def _packed_in(folder: Path) -> list[Path]:
    """Return the tar shards and Parquet files that lie in a folder itself."""
    with os.scandir(folder) as entries:
        names = [own.name for own in entries if not own.name.startswith(".")]
    return [folder / name for name in names if packed_suffix(name) is not None]


def _open_file(path: Path) -> ImageSource:
    suffix = path.suffix.lower()
    kind = packed_suffix(path.name)
    if kind is not None:
        return packed_source(kind, str(path), [path])
    if _COMPRESSED.search(path.name):
        raise BadInputError(
            f"'{path}' is compressed, so no image in it can be reached directly; make it a plain .tar"
        )
    if suffix in LIST_SUFFIXES:
        return list_source(path)
    if is_image_name(path.name) or is_array_name(path.name):
        return FileSource(str(path), path.parent, [path.name])
    raise BadInputError(
        f"'{path}' is neither an image, a list ({', '.join(sorted(LIST_SUFFIXES))}) nor a .tar or .parquet file"
    )


def _open_pattern(pattern: str) -> ImageSource:
    files = find_shards(pattern)
    return packed_source(kind_of_all([str(file) for file in files], pattern), pattern, files)
