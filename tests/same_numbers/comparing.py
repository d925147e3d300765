"""Compares two dumps, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

MISSING, CRASHED = "(nothing)", ": crashed"


@dataclass(frozen=True)
class Subject:
    """What the comparison of one network or atlas gave.

    Attributes:
        name: Its name.
        n_facts: How many facts were compared: layers, units, classes, values of tables.
        n_numbers: How many numbers in arrays were compared.
        n_refused: How many parts both versions refuse, or either.
        n_crashed: In how many parts the version before crashed, so that they cannot be compared.
        differences: A line for every fact and every array that is not the same.
    """

    name: str
    n_facts: int
    n_numbers: int
    n_refused: int
    n_crashed: int
    differences: tuple[str, ...]


def compare(before: Path, now: Path, only: str = "*") -> list[Subject]:
    """Return the comparison of every subject of two dumps, in the order of their names.

    Args:
        before: The folder of one dump.
        now: The folder of the other.
        only: A pattern of the names of subjects, such as `timm/*`.

    *Convention*: bit for bit: 0.0 and -0.0 differ, and so do two arrays of different types with equal values. Where the
    version before crashed, by an error that is not Backlight's, there is nothing to compare with.
    """
    names = sorted({path.stem for folder in (before, now) for path in folder.glob("*.json")})
    wanted = [name for name in names if fnmatch(name.replace("--", "/", 1), only)]
    return [_subject(before, now, name) for name in wanted]


def _subject(before: Path, now: Path, name: str) -> Subject:
    found = [_read(folder / f"{name}.json") for folder in (before, now)]
    facts = [dict(_flat(own["facts"])) for own in found]
    crashed = [key for key in facts[0] if key.endswith(CRASHED)]
    unknown = {key.removesuffix(CRASHED) + end for key in crashed for end in ("", CRASHED, ", activations")}
    differences = [
        f"{key}: {old!r}, now {new!r}"
        for key in dict.fromkeys([*facts[0], *facts[1]])
        if key not in unknown and (old := facts[0].get(key, MISSING)) != (new := facts[1].get(key, MISSING))
    ]
    hashes = [own["arrays"] for own in found]
    keys = [key for key in dict.fromkeys([*hashes[0], *hashes[1]]) if key not in unknown]
    changed = [key for key in keys if hashes[0].get(key) != hashes[1].get(key)]
    differences += [f"{key}: {_how(before, now, name, key)}" for key in changed]
    failed = {own["facts"]["failed"] for own in found if "failed" in own["facts"]}
    differences += [f"{error}: nothing was compared" for error in failed]
    refused = {key for own in facts for key in own if key.endswith(": refused")}
    n_numbers = _n_numbers(now / f"{name}.npz")
    counts = len(facts[1]), n_numbers, len(refused), len(crashed)
    return Subject(name.replace("--", "/", 1), *counts, tuple(differences))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"facts": {}, "arrays": {}}
    return found


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dicts with where they stand; a list is a leaf."""
    if not isinstance(value, dict):
        yield place, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{place}: {key}" if place else str(key))


def _n_numbers(path: Path) -> int:
    if not path.exists():
        return 0
    with np.load(path) as arrays:
        return sum(int(arrays[key].size) for key in arrays.files)


def _how(before: Path, now: Path, name: str, key: str) -> str:
    return describe_difference(*(_array(folder / f"{name}.npz", key) for folder in (before, now)))


def _array(path: Path, key: str) -> np.ndarray | None:
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return arrays.get(key)


def describe_difference(old: np.ndarray | None, new: np.ndarray | None) -> str:
    """Return in words how two arrays differ: how many numbers, by how much at most, and where that is."""
    if old is None or new is None:
        return "it is there before only" if new is None else "it is there now only"
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{old.dtype} {old.shape}, now {new.dtype} {new.shape}"
    bits = [np.ascontiguousarray(own).reshape(-1).view(np.uint8).reshape(own.size, -1) for own in (old, new)]
    changed = (bits[0] != bits[1]).any(1)
    if not np.issubdtype(old.dtype, np.inexact):
        at = np.unravel_index(int(changed.argmax()), old.shape)
        return f"{changed.sum()} of {old.size} differ, first at {_place(at)}: {old[at]}, now {new[at]}"
    with np.errstate(invalid="ignore"):
        size = np.abs(old.astype(np.complex128) - new.astype(np.complex128)).reshape(-1)
    # A number that turned into nan or back has no size, and is larger than any that has.
    size = np.where(changed, np.nan_to_num(size, nan=np.inf), -1)
    at = np.unravel_index(int(size.argmax()), old.shape)
    largest = np.abs(old[np.isfinite(old)]).max(initial=0)
    return (
        f"{changed.sum()} of {old.size} differ, by {size.max():.3g} at most, at {_place(at)}: "
        f"{old[at]!r}, now {new[at]!r} (the largest is {largest:.3g})"
    )


def _place(at: tuple[Any, ...]) -> str:
    return f"({', '.join(str(int(i)) for i in at)})"
