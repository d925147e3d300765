"""Images in a column of Parquet files, as Hugging Face writes them, or as plain bytes."""

from __future__ import annotations

import bisect
import importlib
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias, final

from backlight.errors import BadInputError, ImageError
from backlight.images.byte_files import ByteFile, as_byte_files, below_shared_folder, of_each
from backlight.images.decode import decode_unnamed
from backlight.images.deep import Picture
from backlight.images.once import OnceCache
from backlight.images.parquet_table import read_table
from backlight.images.sources import ImageRecord, check_id, digest, storable
from backlight.text import one_line

_MOST_BYTES = 256 * 2**20

_Cells: TypeAlias = Any
"""A column of pyarrow: encoded images by row. Or an `ImageError`: why there are none."""


@final
class ParquetSource:
    """The images of one or more Parquet files, in the order of their rows. Needs the package `pyarrow`.

    Convention:
        The first column that Hugging Face declares as images gives these, or else the first of bytes, plain or beside
        a path; the first of its class labels, or else one called "label", the labels. The record's path is the path
        of the file, relative to the folder that all share, then the name that the row stores, else "row N" of it.
    """

    def __init__(self, name: str, files: Sequence[Path | ByteFile]) -> None:
        """Read the names and labels of all rows; the images stay where they are.

        Args:
            name: Shown to the user.
            files: Parquet files, on this machine or remote.

        Raises:
            BadInputError: `pyarrow` is not installed, or a file cannot be read or has no column of images, or there
                is no row in any.
        """
        self._files = as_byte_files(files)
        _check_installed(name)
        read = of_each(self._files, lambda _, file: read_table(file))
        self._tables = [table for table, _ in read]
        self._starts = [
            0,
            *accumulate(len(rows) for _, rows in read),
        ]  # of each file the first id, and the end
        if self._starts[-1] == 0:
            raise BadInputError(f"no row in the Parquet files of {name!r}")
        self.name, self._prefixes = name, below_shared_folder(self._files)
        self._groups: OnceCache[_Cells] = OnceCache(_MOST_BYTES, _n_bytes)
        entries = [
            (f"{prefix}/{path or f'row {row}'}", label)
            for prefix, (_, rows) in zip(self._prefixes, read, strict=True)
            for row, (path, label) in enumerate(rows)
        ]
        self.records = tuple(ImageRecord(i, storable(path), label) for i, (path, label) in enumerate(entries))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    def load(self, image_id: int) -> Picture:
        """Return the decoded image; see `ImageSource.load`. The row groups last used are kept, in at most 256 MB."""
        check_id(image_id, self)
        file = bisect.bisect_right(self._starts, image_id) - 1
        row = image_id - self._starts[file]
        starts = self._tables[file].starts
        group = bisect.bisect_right(starts, row) - 1
        found = self._groups.get((file, group), partial(self._read_group, file, group))
        if isinstance(found, ImageError):
            raise ImageError(str(found))
        encoded = found[row - starts[group]].as_py()
        if encoded is None:
            raise ImageError("the row has no image")
        return decode_unnamed(encoded)

    def fingerprint(self) -> str:
        """Return a hash of the names and sizes of the files, in order: that of an image is not known unread."""
        return digest(
            (prefix, table.n_bytes) for prefix, table in zip(self._prefixes, self._tables, strict=True)
        )

    def _read_group(self, file: int, group: int) -> _Cells:
        """Return the encoded images of a row group; a fault of the file as an error, which is kept as they are."""
        table = self._tables[file]
        parquet: Any = importlib.import_module("pyarrow.parquet")
        try:
            with self._files[file].open() as stream:
                opened = parquet.ParquetFile(stream, metadata=table.footer)
                cells = opened.read_row_group(group, columns=[table.column], use_threads=False).column(0)
        except ImageError as error:  # no answer from a store: it is asked again for the next image
            raise ImageError(f"the Parquet file cannot be read: {error}") from error
        # pyarrow's errors and those of reading files have no common base.
        except Exception as error:
            return ImageError(f"the Parquet file cannot be read: {one_line(error)}")
        if len(cells) != table.starts[group + 1] - table.starts[group]:
            return ImageError("the Parquet file is damaged: a row group has fewer rows than it should")
        return _bytes_of(cells)


def _check_installed(name: str) -> None:
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise BadInputError(
            f"{name!r} is Parquet, which needs a package that is not installed; run: pip install 'backlight[datasets]'"
        ) from error


def _bytes_of(cells: Any) -> Any:
    """Return the bytes alone, of a column that may hold them in a field."""
    types: Any = importlib.import_module("pyarrow.types")
    compute: Any = importlib.import_module("pyarrow.compute")
    return compute.struct_field(cells, "bytes") if types.is_struct(cells.type) else cells


def _n_bytes(cells: _Cells) -> int:
    return 0 if isinstance(cells, ImageError) else int(cells.nbytes)
