"""Which of the files of a folder or of a pattern are meant: tar shards, Parquet files, or images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from backlight.errors import BadInputError
from backlight.images.byte_files import ByteFile
from backlight.images.parquet import ParquetSource
from backlight.images.shards import TarSource

Packed: TypeAlias = Literal[".tar", ".parquet"]
"""The ending of files that hold many images."""

_WHAT: dict[Packed, str] = {".tar": "tar shards", ".parquet": "Parquet files"}


def packed_suffix(name: str) -> Packed | None:
    """Return the ending of a file that holds many images, in lower case; None for other files.

    Example:
        >>> packed_suffix("train-001.TAR"), packed_suffix("a.tar.gz")
        ('.tar', None)
    """
    return next((suffix for suffix in _WHAT if name.lower().endswith(suffix)), None)


def packed_kind(names: Iterable[str], place: str) -> Packed | None:
    """Return of which kind the packed files among the names of a folder are; None where there are none.

    Raises:
        BadInputError: They are of both kinds.
    """
    kinds = sorted({suffix for suffix in map(packed_suffix, names) if suffix is not None})
    if len(kinds) > 1:
        raise BadInputError(
            f"folder '{place}' holds both tar shards and Parquet files; give '{place}/*.tar' or '{place}/*.parquet'"
        )
    return next(iter(kinds), None)


def mixed_with_images(place: str, kind: Packed) -> BadInputError:
    """Return the error for a folder that holds images and packed files."""
    what = _WHAT[kind]
    which = "the shards" if kind == ".tar" else "the Parquet files"
    return BadInputError(
        f"folder '{place}' holds both images and {what}; give '{place}/*{kind}' for {which}, "
        "or a folder with only the images"
    )


def kind_of_all(names: Sequence[str], pattern: str) -> Packed:
    """Return of which kind the files are that a pattern matches.

    Raises:
        BadInputError: There are none, they are not all of one kind, or one is not a packed file.
    """
    if not names:
        raise BadInputError(f"the pattern '{pattern}' finds no file")
    kinds = [packed_suffix(name) for name in names]
    if None in kinds:
        raise BadInputError(
            f"the pattern '{pattern}' matches '{names[kinds.index(None)]}', which is neither a .tar nor a .parquet "
            "file; patterns are for these, give images as a folder or a list"
        )
    if len({*kinds}) > 1:
        raise BadInputError(f"the pattern '{pattern}' matches both .tar and .parquet files; give one kind")
    return kinds[0] or ".tar"


def packed_source(kind: Packed, name: str, files: Sequence[Path | ByteFile]) -> TarSource | ParquetSource:
    """Return the source that reads packed files."""
    return TarSource(name, files) if kind == ".tar" else ParquetSource(name, files)
