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

from backlight.errors import BadInputError, StorageError

if TYPE_CHECKING:
    from backlight.render.plots import Plot

_FORMAT = 1
_JSON = "json"
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

        Raises:
            StorageError: They cannot be written.
        """
        text, arrays = self._parts()
        as_json, as_npz = _paths(path)
        try:
            np.savez_compressed(as_npz, **arrays)  # type: ignore[arg-type]
            as_json.write_text(text, "utf-8")
        except OSError as error:
            raise StorageError(
                f"cannot write {str(as_json)!r} ({error.strerror or error}); choose another place"
            ) from error

    @classmethod
    def load(cls: type[_Own], path: Path | str) -> _Own:
        """Return the result that `save` wrote.

        Raises:
            BadInputError: There are no such files, or they hold something else.
        """
        as_json, as_npz = _paths(path)
        try:
            return cls._joined(as_json.read_text("utf-8"), as_npz)
        except BadInputError:
            raise
        except (OSError, ValueError, KeyError, TypeError, cattrs.BaseValidationError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise BadInputError(
                f"{str(as_json)!r} and its .npz are not a saved {_name(cls)} result ({reason})"
            ) from error

    def to_bytes(self) -> bytes:
        """Return the result as bytes: an npz that holds its JSON too."""
        text, arrays = self._parts()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays, **{_JSON: np.frombuffer(text.encode(), np.uint8)})  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls: type[_Own], data: bytes) -> _Own:
        """Return the result that `to_bytes` gave."""
        with np.load(io.BytesIO(data)) as arrays:
            text = arrays[_JSON].tobytes().decode()
        return cls._joined(text, io.BytesIO(data))

    def _parts(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Return the JSON text and the arrays."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in own.items() if isinstance(value, np.ndarray)}
        values = {name: _CONVERTER.unstructure(value) for name, value in own.items() if name not in arrays}
        found = {"study": _name(type(self)), "format": _FORMAT, "summary": self.summary(), "values": values}
        return json.dumps(found, indent=1, allow_nan=False), arrays

    @classmethod
    def _joined(cls: type[_Own], text: str, npz: Path | io.BytesIO) -> _Own:
        found = json.loads(text)
        if found["study"] != _name(cls):
            raise BadInputError(f"this result is of the study {found['study']}, not {_name(cls)}")
        with np.load(npz) as arrays:
            own = {name: arrays[name] for name in arrays.files if name != _JSON}
        hints = get_type_hints(cls)
        own |= {name: _CONVERTER.structure(value, hints[name]) for name, value in found["values"].items()}
        return cls(**own)

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()


def _name(kind: type[Result]) -> str:
    """Return the name of a study: of the module or package below `backlight.studies`, or `backlight`, that it is in."""
    *folders, name = kind.__module__.split(".")
    inside = (
        folders[2 if folders[:2] == ["backlight", "studies"] else 1 :] if folders[:1] == ["backlight"] else []
    )
    return inside[0] if inside else name


def _paths(path: Path | str) -> tuple[Path, Path]:
    """Return the two files of a result; the path may name either of them, or neither's ending."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".json", ".npz") else path
    return Path(f"{stem}.json"), Path(f"{stem}.npz")
