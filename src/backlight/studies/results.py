"""Results of studies: frozen arrays and plain values, saved as one JSON file and one npz file."""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import cattrs
import numpy as np
from cattrs.strategies import configure_union_passthrough
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.storage import replacing
from backlight.storage.arrays import BROKEN, checksum, read_npz
from backlight.text import counted

if TYPE_CHECKING:  # matplotlib is slow to import
    from backlight.render.plots import Plot

_FORMAT = 2
_UNCHECKED = 1
"""The format from before there was a checksum."""
_JSON = "json"
_BROKEN = (*BROKEN, AttributeError, cattrs.BaseValidationError)
_SAVE_AGAIN = {"python": "`save` the result again", "command": "run the study again with --save"}
_Own = TypeVar("_Own", bound="Result")

_CONVERTER = cattrs.Converter()
configure_union_passthrough(
    str | int | float | bool | None, _CONVERTER
)  # JSON keeps these types apart itself


def _has_numbers(kind: Any) -> bool:
    """Return whether a type is one value or a tuple of numbers, such as `int | tuple[int, int]`."""
    return get_origin(kind) is UnionType and any(get_origin(part) is tuple for part in get_args(kind))


def _value_or_numbers(value: Any, kind: Any) -> Any:
    given = value if isinstance(value, list) else [value]
    kinds = (
        (int, float) if isinstance(value, list) else tuple(k for k in get_args(kind) if isinstance(k, type))
    )
    if not all(isinstance(own, (*kinds, int)) and not isinstance(own, bool) for own in given):
        raise ValueError(f"expected {kind}, got {value!r}")
    return tuple(value) if isinstance(value, list) else value


_CONVERTER.register_structure_hook_func(_has_numbers, _value_or_numbers)


@dataclass(frozen=True, eq=False)
class Result(ABC):
    """What a study found; subclasses add fields: numpy arrays, and values that JSON can hold (config among them).

    Results do not import what draws them. A result is drawn by the function `draw` of the module `plot` that lies
    beside its own: `backlight.studies.sanity.plot.draw` draws a `backlight.studies.sanity.result.Sanity`.

    Attributes:
        study: Name of the study. Saved files hold it, so it stays the same wherever the class moves.
    """

    study: ClassVar[str]

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return what matters most as plain JSON."""

    def plot(self, *args: Any, **options: Any) -> Plot:
        """Return the figure of the study, with the options that its `plot.draw` takes."""
        package = type(self).__module__.rpartition(".")[0]
        figure: Plot = import_module(f"{package}.plot").draw(self, *args, **options)
        return figure

    def __repr__(self) -> str:
        """Return what it was found of, on one line and without arrays: `Inversion(SqueezeNet, 'features.3')`."""
        return f"{type(self).__name__}({', '.join(self._facts())})"

    def _facts(self) -> list[str]:
        """Return of what it was found: the network, its layers and the images, as far as the result knows them."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        facts = [str(own[name]) for name in ("model", "network") if name in own]
        layers = own.get("layers", (own["layer"],) if "layer" in own else ())
        if len(layers) == 1:
            facts.append(repr(getattr(layers[0], "name", layers[0])))
        elif layers:
            facts.append(counted(len(layers), "layer"))
        images = own.get("images")
        n_images = len(images) if isinstance(images, tuple) else own.get("n_images")
        return facts if n_images is None else [*facts, counted(n_images, "image")]

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
            return cls._joined(as_json.read_text("utf-8"), as_npz, f"{str(as_json)!r}: ")
        except BadInputError:
            raise
        except _BROKEN as error:
            raise BadInputError(
                f"{str(as_json)!r} and its .npz are not a saved {cls.study} result ({_reason(error)})",
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
            return cls._joined(text, io.BytesIO(data), "")
        except BadInputError:
            raise
        except _BROKEN as error:
            raise BadInputError(f"these bytes are not a {cls.study} result ({_reason(error)})") from error

    def _parts(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Return the JSON text and the arrays."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in own.items() if isinstance(value, np.ndarray)}
        values = {name: _CONVERTER.unstructure(value) for name, value in own.items() if name not in arrays}
        found = {"study": self.study, "format": _FORMAT, "summary": self.summary(), "values": values}
        found["checksum"] = checksum(json.loads(json.dumps(found, allow_nan=False)), arrays)
        return json.dumps(found, indent=1, allow_nan=False), arrays

    @classmethod
    def _joined(cls: type[_Own], text: str, npz: Path | io.BytesIO, where: str) -> _Own:
        """Return the result of a JSON text and its arrays; `where` begins the message of an error."""
        found = json.loads(text)
        if found["study"] != cls.study:
            raise BadInputError(f"{where}this result is of the study {found['study']}, not {cls.study}")
        own: dict[str, Any] = {name: array for name, array in read_npz(npz).items() if name != _JSON}
        known = found.pop("checksum", None)
        if known is None and found["format"] != _UNCHECKED:
            raise BadInputError(f"{where}its checksum is missing, so the file was changed", **_SAVE_AGAIN)
        if known is not None and known != checksum(found, own):
            raise BadInputError(
                f"{where}the .json and the .npz do not belong together, or were changed after they were saved",
                **_SAVE_AGAIN,
            )
        hints = get_type_hints(cls)
        own |= {name: _CONVERTER.structure(value, hints[name]) for name, value in found["values"].items()}
        result = cls(**own)
        result.summary()  # raises where arrays and values do not fit each other
        return result

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()


def _reason(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def result_paths(path: Path | str) -> tuple[Path, Path]:
    """Return the two files of a result; the path may name either of them, or neither's ending."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".json", ".npz") else path
    return Path(f"{stem}.json"), Path(f"{stem}.npz")
