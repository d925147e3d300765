"""From what a user calls a set of images to the source that reads it."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from backlight.errors import BadInputError
from backlight.images.files import LIST_SUFFIXES, folder_source, holds_image, list_source
from backlight.images.saved_dataset import DatasetSource, is_saved_dataset
from backlight.images.shards import TarSource, find_shards
from backlight.images.sources import FileSource, ImageSource, SequenceSource, is_image_name

_COMPRESSED = re.compile(r"\.(tgz|tar\.\w+)$", re.IGNORECASE)


def open_images(
    spec: str | Path | Sequence[Image.Image | Path | str] | Image.Image | ImageSource,
) -> ImageSource:
    """Return the source that reads what `spec` names. No image is decoded yet.

    Args:
        spec: One of
            a folder of images, its subfolders giving the labels;
            a folder of .tar files, one .tar file, or a pattern of them such as "train-{000..012}.tar";
            a folder that Hugging Face's `save_to_disk` wrote for one split;
            a list file (.txt, .csv, .tsv): a path, and maybe a label, on each line;
            one image file: a set of one;
            a sequence of Pillow images or paths, or one Pillow image;
            a source, which is returned as it is.

    Raises:
        BadInputError: There is nothing of that name, no image in it, or no telling what is meant.

    Example:
        >>> len(open_images([Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8))]))
        2
    """
    if isinstance(spec, ImageSource):
        return spec
    if isinstance(spec, Image.Image):
        return SequenceSource([spec])
    if not isinstance(spec, str | Path):
        return SequenceSource(spec)
    path = Path(spec).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise BadInputError(f"cannot open '{path}': {error.strerror}") from error
    if is_folder:
        return _open_folder(path)
    if is_file:
        return _open_file(path)
    if glob.has_magic(str(path)) or "{" in str(path):
        return _open_pattern(str(path))
    raise BadInputError(f"no such file or folder: '{path}'")


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
    if is_image_name(path.name):
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
            f"the pattern '{pattern}' stands for '{other}', which is not a .tar file; "
            "patterns are for shards, give images as a folder or a list"
        )
    return TarSource(pattern, shards)
