"""What is known of a Parquet file of images from its footer and its small columns: names, labels, row groups."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from backlight.errors import BadInputError, ImageError
from backlight.images.byte_files import ByteFile
from backlight.text import one_line

_MOST_ROWS = 10**8


@dataclass(frozen=True)
class Table:
    """What is known of one file.

    Attributes:
        footer: Its metadata, as pyarrow reads it; where each row group lies is in it.
        column: The column of images, or the field in it that holds their bytes.
        starts: The first row of each row group, and the end.
        n_bytes: Size of the file.
    """

    footer: Any
    column: str
    starts: list[int]
    n_bytes: int


Rows: TypeAlias = list[tuple[str | None, str | None]]
"""Of each row, the name that it stores for its image, and its label."""


def read_table(file: ByteFile) -> tuple[Table, Rows]:
    """Return what is known of a file, and of its rows; of the images, nothing is read.

    Raises:
        BadInputError: It cannot be read, or has no column of images.
    """
    parquet: Any = importlib.import_module("pyarrow.parquet")
    try:
        n_bytes = file.size()
        with file.open() as stream:
            opened = parquet.ParquetFile(stream, pre_buffer=True)
            return _table(opened, file.name, n_bytes)
    except ImageError as error:  # no answer from a store
        raise BadInputError(f"cannot read Parquet file '{file.name}': {error}") from error
    except BadInputError:
        raise
    # pyarrow's errors and those of reading files have no common base.
    except Exception as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise BadInputError(f"cannot read Parquet file '{file.name}': {reason}; write it again") from error


def _table(opened: Any, name: str, n_bytes: int) -> tuple[Table, Rows]:
    footer, schema = opened.metadata, opened.schema_arrow
    starts = [0, *accumulate(footer.row_group(i).num_rows for i in range(footer.num_row_groups))]
    if not 0 <= footer.num_rows <= _MOST_ROWS or starts != sorted(starts) or starts[-1] != footer.num_rows:
        raise BadInputError(
            f"Parquet file '{name}' tells of {footer.num_rows} rows, which cannot be; write it again"
        )
    kinds = _declared(schema)
    column = _image_column(schema, kinds)
    if footer.num_rows == 0:
        return Table(footer, "", starts, n_bytes), []
    if column is None:
        raise BadInputError(
            f"no images in Parquet file '{name}', whose columns are {', '.join(schema.names)}; "
            "the images must be a column of bytes, or of bytes and paths as Hugging Face writes it"
        )
    is_nested = _is_nested(schema.field(column).type)
    label = _label_column(schema, kinds)
    wanted = [f"{column}.path"] * is_nested + ([] if label is None else [label])
    # At once, so that what lies side by side in the file is one request.
    read = opened.read(columns=wanted, use_threads=False)
    nothing: list[Any] = [None] * footer.num_rows
    cells = read.column(column).to_pylist() if is_nested else nothing
    paths = [None if cell is None else cell["path"] for cell in cells]
    values = nothing if label is None else read.column(label).to_pylist()
    if not len(paths) == len(values) == footer.num_rows:
        raise BadInputError(f"Parquet file '{name}' has columns of different lengths; write it again")
    labels = _labels(values, kinds.get(label or "", {}))
    own = Table(footer, f"{column}.bytes" if is_nested else column, starts, n_bytes)
    return own, list(zip(paths, labels, strict=True))


def _declared(schema: Any) -> dict[str, dict[str, Any]]:
    """Return what Hugging Face says of each column; nothing where it has not written the file, or cannot be read."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {key: kind for key, kind in features.items() if isinstance(kind, dict)}
    # Damaged JSON may be of any type and depth, and the columns are good without it.
    except Exception:
        return {}


def _image_column(schema: Any, kinds: dict[str, dict[str, Any]]) -> str | None:
    usable = [own.name for own in schema if _is_bytes(own.type) or _is_nested(own.type)]
    declared = [name for name in usable if kinds.get(name, {}).get("_type") == "Image"]
    return next(iter(declared + usable), None)


def _label_column(schema: Any, kinds: dict[str, dict[str, Any]]) -> str | None:
    names = schema.names
    declared = [name for name in names if kinds.get(name, {}).get("_type") == "ClassLabel"]
    return next(iter(declared), "label" if "label" in names else None)


def _labels(values: list[Any], kind: dict[str, Any]) -> list[str | None]:
    names = kind.get("names")
    if not isinstance(names, list):
        return [None if value is None else str(value) for value in values]
    return [
        str(names[value]) if isinstance(value, int) and 0 <= value < len(names) else None for value in values
    ]


def _is_bytes(kind: Any) -> bool:
    types: Any = importlib.import_module("pyarrow.types")
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_nested(kind: Any) -> bool:
    """Return whether a column holds bytes beside paths."""
    types: Any = importlib.import_module("pyarrow.types")
    fields = {own.name: own.type for own in kind} if types.is_struct(kind) else {}
    return "path" in fields and "bytes" in fields and _is_bytes(fields["bytes"])
