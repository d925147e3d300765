"""Images of a Hugging Face dataset that `Dataset.save_to_disk` has written."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, final

from backlight.errors import BadInputError, ImageError
from backlight.images.decode import decode_unnamed
from backlight.images.deep import Picture
from backlight.images.sources import ImageRecord, check_id, digest, storable
from backlight.text import one_line


def is_saved_dataset(folder: Path) -> bool:
    """Return whether the folder was written by `save_to_disk`, of one dataset or of several splits."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


@final
class DatasetSource:
    """The images of one split, in the order of its rows. Needs the package `datasets`.

    Convention:
        The first image column gives the images; the first column of class labels, or else one called
        "label", the labels. The record's path is the file name that the dataset stores, else "row N".
    """

    def __init__(self, folder: Path) -> None:
        """Open the dataset; nothing is downloaded.

        Args:
            folder: What `save_to_disk` wrote for one split.

        Raises:
            BadInputError: `datasets` is not installed, or the folder holds several splits, no rows, no image
                column, or nothing that can be read.
        """
        self.name = str(folder)
        datasets = _package(folder)
        table = _load(datasets, folder)
        try:
            # a format kept in it would turn the rows into tensors
            self._open(datasets, table.with_format(None))
        except BadInputError:
            raise
        # datasets and pyarrow have no common base for what they raise on damaged files.
        except Exception as error:
            raise _unreadable(folder, error) from error
        self._files = _files(table)

    def _open(self, datasets: Any, table: Any) -> None:
        column = next((key for key, kind in table.features.items() if isinstance(kind, datasets.Image)), None)
        if column is None or len(table) == 0:
            columns = ", ".join(table.features)
            raise BadInputError(
                f"no images in the dataset '{self.name}': {len(table)} rows, columns {columns}; "
                "the images must be a column of the type datasets.Image"
            )
        # The files are mapped into memory unread. Wrong offsets in a damaged one would crash Python when they are
        # followed; checking them reads 4 or 8 bytes per row, not the images.
        used = [column, *filter(None, [_label_column(table, datasets.ClassLabel)])]
        table.select_columns(used).data.validate(full=True)
        self._column = column
        # Undecoded: these images too pass through `decode`, so that a bad one is skipped for a stated reason.
        self._rows = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        paths, self._n_bytes = _names_and_sizes(self._rows, column)
        self.records = tuple(
            ImageRecord(i, storable(path) if path else f"row {i}", label)
            for i, (path, label) in enumerate(zip(paths, _labels(table, datasets.ClassLabel), strict=True))
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    def load(self, image_id: int) -> Picture:
        """Return the decoded image; see `ImageSource.load`."""
        check_id(image_id, self)
        # Reading mapped memory past the end of a file that was cut since it was opened would crash Python.
        if any(_size(file) < n_bytes for file, n_bytes in self._files):
            raise ImageError("a file of the dataset was cut short while it was in use")
        cell = self._rows[image_id][self._column]
        if cell is None or (cell["bytes"] is None and cell["path"] is None):
            raise ImageError("the row has no image")
        return decode_unnamed(cell["path"] if cell["bytes"] is None else cell["bytes"])

    def fingerprint(self) -> str:
        """Return the hash of names and sizes; see `ImageSource.fingerprint`.

        A file that the dataset only points to counts as -1.
        """
        return digest(
            (record.path, -1 if size is None else size)
            for record, size in zip(self.records, self._n_bytes, strict=True)
        )


def _package(folder: Path) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise BadInputError(
            f"'{folder}' is a Hugging Face dataset, which needs a package that is not installed; "
            "run: pip install 'backlight[datasets]'"
        ) from error


def _load(datasets: Any, folder: Path) -> Any:
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(state.parent for state in folder.glob("*/state.json"))
        raise BadInputError(f"'{folder}' holds several splits; give one: {', '.join(map(str, splits))}")
    try:
        return datasets.load_from_disk(str(folder))
    # datasets and pyarrow have no common base for what they raise on damaged files.
    except Exception as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> BadInputError:
    return BadInputError(f"cannot read the dataset '{folder}': {one_line(error, 300)}; write it again")


def _files(table: Any) -> tuple[tuple[str, int], ...]:
    """Return the files of a dataset that are mapped into memory, and their sizes in bytes."""
    names = [str(own["filename"]) for own in table.cache_files]
    return tuple((name, _size(name)) for name in names)


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return -1


def _names_and_sizes(rows: Any, column: str) -> tuple[list[str | None], list[int | None]]:
    """Return file name and size in bytes of each image, from the table; the images stay on disk."""
    compute: Any = importlib.import_module("pyarrow.compute")
    cells = rows.data.column(column)
    sizes = compute.binary_length(compute.struct_field(cells, "bytes"))
    return compute.struct_field(cells, "path").to_pylist(), sizes.to_pylist()


def _label_column(table: Any, class_label: type) -> str | None:
    kinds = table.features
    return next(
        (key for key, kind in kinds.items() if isinstance(kind, class_label)),
        "label" if "label" in kinds else None,
    )


def _labels(table: Any, class_label: type) -> list[str | None]:
    kinds, column = table.features, _label_column(table, class_label)
    if column is None:
        return [None] * len(table)
    values = table[column][:]
    if not isinstance(kinds[column], class_label):
        return [None if value is None else str(value) for value in values]
    names = kinds[column].names
    return [names[value] if value is not None and 0 <= value < len(names) else None for value in values]
