"""Results of studies: frozen arrays and plain values, kept as one JSON and one npz file."""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import cattrs
import numpy as np
from cattrs.strategies import configure_union_passthrough
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.storage import replacing
from backlight.storage.arrays import BROKEN, checksum, read_npz

if TYPE_CHECKING:
    from backlight.render.plots import Plot

_FORMAT = 2
_UNCHECKED = 1
"""The format before there was a checksum."""
_JSON = "json"
_BROKEN = (*BROKEN, AttributeError, cattrs.BaseValidationError)
_Own = TypeVar("_Own", bound="Result")

_CONVERTER = cattrs.Converter()
configure_union_passthrough(
    str | int | float | bool | None, _CONVERTER
)  # JSON keeps these types apart itself


@dataclass(frozen=True, eq=False)
class Result(ABC):
    """What a study found; subclasses add fields: numpy arrays, and values that JSON can hold (config among them)."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return what matters most as plain JSON."""

    @abstractmethod
    def plot(self) -> Plot:
        """Return the figure of the study."""

    def save(self, path: Path | str) -> None:
        """Write `path`.json (summary, configuration, values) and `path`.npz (arrays).

        Both are written whole before either takes the place of an older one. The JSON holds a checksum of itself and
        of the arrays, so `load` tells when a kill left one new and one old, or when either was changed.

        Raises:
            StorageError: They cannot be written; what was there is as it was.
        """
        text, arrays = self._parts()
        as_json, as_npz = result_paths(path)
        with replacing(as_json, as_npz) as (fresh_json, fresh_npz):
            with fresh_npz.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            fresh_json.write_text(text, "utf-8")

    @classmethod
    def load(cls: type[_Own], path: Path | str) -> _Own:
        """Return the result that `save` wrote.

        Raises:
            BadInputError: There are no such files, they hold something else, are damaged, or do not belong together.
        """
        as_json, as_npz = result_paths(path)
        try:
            return cls._joined(as_json.read_text("utf-8"), as_npz)
        except BadInputError as error:
            raise BadInputError(f"{str(as_json)!r}: {error}") from error
        except _BROKEN as error:
            raise BadInputError(
                f"{str(as_json)!r} and its .npz are not a saved {_name(cls)} result ({_reason(error)})",
                python="name the files that `save` wrote",
                command="name the files that --save wrote",
            ) from error

    def to_bytes(self) -> bytes:
        """Return the result as bytes: an npz that holds its JSON too."""
        text, arrays = self._parts()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays, **{_JSON: np.frombuffer(text.encode(), np.uint8)})  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls: type[_Own], data: bytes) -> _Own:
        """Return the result that `to_bytes` gave.

        Raises:
            BadInputError: The bytes are something else, or damaged.
        """
        try:
            text = read_npz(io.BytesIO(data))[_JSON].tobytes().decode()
            return cls._joined(text, io.BytesIO(data))
        except BadInputError:
            raise
        except _BROKEN as error:
            raise BadInputError(f"these bytes are not a {_name(cls)} result ({_reason(error)})") from error

    def _parts(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Return the JSON text and the arrays."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in own.items() if isinstance(value, np.ndarray)}
        values = {name: _CONVERTER.unstructure(value) for name, value in own.items() if name not in arrays}
        found = {"study": _name(type(self)), "format": _FORMAT, "summary": self.summary(), "values": values}
        found["checksum"] = checksum(json.loads(json.dumps(found, allow_nan=False)), arrays)
        return json.dumps(found, indent=1, allow_nan=False), arrays

    @classmethod
    def _joined(cls: type[_Own], text: str, npz: Path | io.BytesIO) -> _Own:
        found = json.loads(text)
        if found["study"] != _name(cls):
            raise BadInputError(f"this result is of the study {found['study']}, not {_name(cls)}")
        own: dict[str, Any] = {name: array for name, array in read_npz(npz).items() if name != _JSON}
        known = found.pop("checksum", None)
        if known is None and found["format"] != _UNCHECKED:
            raise BadInputError("its checksum is missing, so the file was changed; save the result again")
        if known is not None and known != checksum(found, own):
            raise BadInputError(
                "the .json and the .npz do not belong together, or were changed after they were saved",
                python="`save` the result again",
                command="run the study again with --save",
            )
        hints = get_type_hints(cls)
        own |= {name: _CONVERTER.structure(value, hints[name]) for name, value in found["values"].items()}
        result = cls(**own)
        result.summary()  # raises where arrays and values do not fit each other
        return result

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()


def _name(kind: type[Result]) -> str:
    """Return the name of a study: of the module or package below `backlight.studies`, or `backlight`, that it is in."""
    *folders, name = kind.__module__.split(".")
    inside = (
        folders[2 if folders[:2] == ["backlight", "studies"] else 1 :] if folders[:1] == ["backlight"] else []
    )
    return inside[0] if inside else name


def _reason(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def result_paths(path: Path | str) -> tuple[Path, Path]:
    """Return the two files of a result; the path may name either of them, or neither's ending."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".json", ".npz") else path
    return Path(f"{stem}.json"), Path(f"{stem}.npz")
