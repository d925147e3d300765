"""Checks that what an atlas holds is what a build writes, before anything is made of it.

Each function returns what it was given, or raises ValueError, KeyError or TypeError, which `damage.reading` turns
into one line. The limits are far above what any build writes.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.atlas.descriptions import LayerDescription
from backlight.engines.identity import LONGEST_NAME, MOST_HITS, AtlasIdentity, RulesIdentity, check_pixels
from backlight.images import preprocessing_from_dict

LONGEST_PATH = 10_000
_LARGEST_FIELD, _LARGEST_SHAPE, _LARGEST = 1_000_000, 2**31, 2**53
_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LARGEST_RESULT_BYTES = 2**28
_STRIDE = re.compile(r"\d{1,9}(/\d{1,9})?", re.ASCII)


def whole(value: Any, what: str, least: int = 0, most: int = _LARGEST) -> int:
    """Return a whole number from least to most."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} must be a whole number from {least} to {most}, got {_short(value)}")
    return value


def real(value: Any, what: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a finite number from least to most."""
    if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
        bounds = "" if least == -math.inf else f" from {least:g}"
        raise ValueError(f"{what} must be a finite number{bounds}, got {_short(value)}")
    return float(value)


def words(value: Any, what: str, most: int = LONGEST_NAME) -> str:
    """Return a text that is no longer than a limit."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{what} must be a text of at most {most} characters, got {_short(value)}")
    return value


def name(value: Any, what: str) -> str:
    """Return a name: a short text that can be printed anywhere."""
    if not words(value, what).isprintable():
        raise ValueError(f"{what} must be printable, got {_short(value)}")
    return str(value)


def flag(value: Any, what: str) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{what} must be true or false, got {_short(value)}")
    return value


def one_of(value: Any, what: str, allowed: tuple[str, ...]) -> str:
    """Return one of some texts."""
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, got {_short(value)}")
    return str(value)


def nothing(values: tuple[Any, ...], what: str) -> None:
    """Refuse what is not NULL."""
    if any(value is not None for value in values):
        raise ValueError(f"{what} must be missing, got {_short(values)}")


def table(value: Any, what: str) -> dict[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a JSON object, got {_short(value)}")
    return value


def wholes(value: Any, what: str, least: int = 0, most: int = _LARGEST) -> tuple[int, ...]:
    """Return a list of whole numbers."""
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list, got {_short(value)}")
    return tuple(whole(item, what, least, most) for item in value)


def identity(text: Any) -> AtlasIdentity:
    """Return the identity of an atlas from its JSON (`AtlasIdentity.to_json`)."""
    found = table(json.loads(text), "identity")
    model, images = table(found["model"], "model"), table(found["images"], "images")
    name(model["name"], "model name")
    name(model["fingerprint"], "model fingerprint")
    words(images["name"], "image set", LONGEST_PATH)
    name(images["fingerprint"], "image fingerprint")
    whole(images["n"], "number of images")
    preprocessing = preprocessing_from_dict(table(found["preprocessing"], "preprocessing"))
    check_pixels(preprocessing.crop)
    shape = wholes(model["input_shape"], "input_shape", 1)
    if shape != (preprocessing.channels, *preprocessing.crop):
        raise ValueError(f"input_shape {shape} is not that of the preprocessing")
    plan = table(found["plan"], "plan")
    whole(plan["top"], "top", 1, MOST_HITS)
    for layer, channels in table(plan["layers"], "layers").items():
        wholes(channels, f"channels of {_short(layer)}")
    rules(found["rules"], plan["layers"])
    # All kinds and ranges are checked: making the records cannot turn a wrong value into a right one.
    return AtlasIdentity.from_dict(found)


def rules(found: Any, layers: Iterable[str]) -> RulesIdentity:
    """Return by which rules the hits of an atlas, or of some of its layers, are projected, from their JSON object."""
    name(table(found, "rules")["name"], "rules")
    typed = RulesIdentity.from_dict(found)
    for layer in layers:
        name(typed.of(layer).name, "rule set")
    return typed


def origin(text: Any) -> dict[str, str | None]:
    """Return what a build was given, from its JSON: texts, or None."""
    found = table(json.loads(text), "origin")
    return {key: None if value is None else words(value, key, LONGEST_PATH) for key, value in found.items()}


def classes(text: Any) -> tuple[str, ...]:
    """Return the names of classes, from their JSON."""
    found = json.loads(text)
    if not isinstance(found, list):
        raise ValueError(f"classes must be a list, got {_short(found)}")
    return tuple(name(own, "class") for own in found)


def description(text: Any, channels: Sequence[int], earlier: Collection[str] = ()) -> LayerDescription:
    """Return the description of a layer from its JSON (`LayerDescription.to_json`).

    Args:
        text: The JSON.
        channels: The layer's feature maps that are projected.
        earlier: The layers before it.
    """
    found = table(json.loads(text), "description")
    name(found["operator"], "operator")
    flag(found["rectified"], "rectified")
    shape = wholes(found["shape"], "shape", 1, _LARGEST_SHAPE)
    if not shape:
        raise ValueError("shape must be (c, h, w) or (c,), got ()")
    for channel in channels:
        whole(channel, "projected channels", 0, shape[0] - 1)
    field = found["receptive_field"]
    if field is not None:
        for axis in (field["rows"], field["cols"]):
            size, stride, offset = axis
            whole(size, "size of a receptive field", 1, _LARGEST_FIELD)
            whole(offset, "offset of a receptive field", -_LARGEST_FIELD, _LARGEST_FIELD)
            if not _STRIDE.fullmatch(words(stride, "stride")):
                raise ValueError(f"the stride of a receptive field must be a fraction, got {_short(stride)}")
        flag(field["gates_ignored"], "gates_ignored")
    sources = found.get("sources")
    if sources is not None:
        _sources(sources, earlier)
    return LayerDescription.from_dict(found)


def _sources(found: Any, earlier: Collection[str]) -> None:
    """Check the sources of a layer: the image, whose name is empty, and layers before it, each once."""
    if not isinstance(found, list) or len(found) > len(earlier) + 1:
        raise ValueError(f"sources must be the image or earlier layers, each once, got {_short(found)}")
    for i, source in enumerate(found):
        if (words(source, "source") and source not in earlier) or source in found[:i]:
            raise ValueError(
                f"a source must be the image or an earlier layer, each once, got {_short(source)}"
            )


def npy(data: Any) -> NDArray[np.float32]:
    """Return the float32 array of .npy bytes; its size is compared with theirs before memory is taken for it."""
    # Only the header is parsed by NumPy; the values are taken from the bytes that are there.
    stream = io.BytesIO(blob(data, "array"))
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    left = len(data) - stream.tell()
    if dtype != np.float32 or len(shape) != 4 or math.prod(shape) * 4 != left:
        raise ValueError(f"filters must be float32 (n, c, k, k) of {left} bytes, got {dtype} {_short(shape)}")
    values = np.frombuffer(data, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if is_fortran else "C").copy()


def npz(data: Any) -> bytes:
    """Return .npz bytes, having checked that their arrays fit into memory when unpacked and hold no pickles."""
    with zipfile.ZipFile(io.BytesIO(blob(data, "result"))) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _LARGEST_RESULT_BYTES:
            raise ValueError(f"a result must have at most {_LARGEST_RESULT_BYTES} bytes unpacked")
        for entry in archive.infolist():
            with archive.open(entry) as stream:
                version = np.lib.format.read_magic(stream)
                old = version == (1, 0)
                read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
                if dtype.hasobject or math.prod(shape) * dtype.itemsize > entry.file_size:
                    raise ValueError(f"array {_short(entry.filename)} is larger than its data, or a pickle")
    return bytes(data)


def histogram(data: Any, n_bins: int) -> NDArray[np.int64]:
    """Return the histogram of a feature map."""
    if len(blob(data, "histogram")) != 8 * n_bins:
        raise ValueError(f"a histogram has {n_bins} bins of 8 bytes, got {len(data)} bytes")
    counts = np.frombuffer(data, "<i8")
    if (counts < 0).any():
        raise ValueError("a histogram counts images, got a negative number")
    return counts


def unit(row: Any, col: Any, shape: tuple[int, ...]) -> None:
    """Refuse a place that is not in a map of a layer of that shape; units of fully connected layers have none."""
    if len(shape) == 3:
        whole(row, "row", 0, shape[1] - 1)
        whole(col, "col", 0, shape[2] - 1)
    else:
        nothing((row, col), "row and column of a unit without a place")


def tile(patch: Any, projection: Any, scale: Any) -> tuple[bytes, bytes, float]:
    """Return what is kept of a hit's tile."""
    return blob(patch, "patch"), blob(projection, "projection"), real(scale, "scale", 0.0, _LARGEST_FLOAT)


def blob(value: Any, what: str) -> bytes:
    """Return bytes."""
    if not isinstance(value, bytes):
        raise ValueError(f"{what} must be bytes, got {_short(value)}")
    return value


def _short(value: Any) -> str:
    """Return a value from a file as it may be shown; of a huge one, whose `repr` would take long, only its kind."""
    if isinstance(value, str | bytes) and len(value) > 40:
        return f"{type(value).__name__} of length {len(value)}"
    if isinstance(value, list | tuple | dict) and len(value) > 8:
        return f"{type(value).__name__} of {len(value)}"
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"
