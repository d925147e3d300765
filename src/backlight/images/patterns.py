"""The files that a pattern with braces or stars names."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from backlight.errors import BadInputError
from backlight.images.files import folders_below

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_MOST_FILES = 100_000
_MOST_BRACES = 32


def find_shards(pattern: str) -> list[Path]:
    """Return the files of this machine that a pattern matches.

    Args:
        pattern: A path with `{000..012}` or `{a,b}` in it, or with `*`, `?` and `[...]`.

    Returns:
        The files that braces name, in the order of the braces, whether they exist or not, each glob among
        them replaced by what it finds, sorted.

    Raises:
        BadInputError: It matches more than 100,000 files.

    Example:
        >>> [path.name for path in find_shards("train-{08..10}.tar")]
        ['train-08.tar', 'train-09.tar', 'train-10.tar']
    """
    found: list[Path] = []
    for path in expanded(pattern):
        found += map(Path, sorted(_globbed(path))) if glob.has_magic(path) else [Path(path)]
        check_number(found, pattern)
    return found


def expanded(pattern: str) -> Iterator[str]:
    """Yield what the braces of a pattern stand for, in their order; stars stay as they are.

    Raises:
        BadInputError: It has more than 32 braces, or they stand for more than 100,000 names.
    """
    if pattern.count("{") > _MOST_BRACES:
        raise BadInputError(f"the pattern has more than {_MOST_BRACES} braces; give the shards as a folder")
    names: list[str] = []
    for name in _expand(pattern):
        names.append(name)
        check_number(names, pattern)
    yield from names


def check_number(found: Sequence[object], pattern: str) -> None:
    """Raise `BadInputError` where a pattern stands for more files than a set of shards has."""
    if len(found) > _MOST_FILES:
        raise BadInputError(
            f"the pattern '{pattern}' matches more than {_MOST_FILES} files; check the numbers in its braces"
        )


def _globbed(pattern: str) -> set[str]:
    """Return the paths that a pattern finds; `**` is any number of folders, and no link to a folder above is followed.

    `glob` follows such links again and again: with two of them in a folder it would never end.
    """
    parts = Path(pattern).parts
    if "**" not in parts:
        return set(glob.glob(pattern))  # noqa: PTH207
    at = parts.index("**")
    tops = glob.glob(str(Path(*parts[:at])))  # noqa: PTH207
    rest = parts[at + 1 :] or ("*",)
    folders = (folder for top in tops if Path(top).is_dir() for folder in folders_below(Path(top)))
    return set().union(*(_globbed(str(Path(glob.escape(str(folder)), *rest))) for folder in folders))


def _expand(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    span = _RANGE.fullmatch(braces[1])
    choices: Iterable[str] = braces[1].split(",")
    if span:
        width = len(span[1])
        choices = (f"{i:0{width}d}" for i in range(int(span[1]), int(span[2]) + 1))
    for choice in choices:
        yield from _expand(pattern[: braces.start()] + choice + pattern[braces.end() :])
