"""Folders of images, and lists of them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from backlight.errors import BadInputError
from backlight.images.sources import IMAGE_SUFFIXES, FileSource, is_image_name

LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv"})

_HEADERS = frozenset({"path", "file", "filename", "file_name", "image", "image_path"})
_SUFFIX = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES, key=len, reverse=True))
_LABELLED = re.compile(rf"(.*(?:{_SUFFIX}))\s*[,\s]\s*(.*)", re.IGNORECASE)


def folder_source(folder: Path) -> FileSource:
    """Return the images in a folder and the folders below it, sorted by their path relative to it.

    The first folder on an image's relative path is its label; an image in the folder itself has none.

    Args:
        folder: The folder. Hidden files and folders (a leading dot) are passed over, and so is what does not
            end in one of `IMAGE_SUFFIXES`.

    Raises:
        BadInputError: No such folder, one that may not be read, or no image in it.

    Convention:
        Sorted by code point: upper before lower case, "10.jpg" before "9.jpg". Links to folders are followed,
        but not into a folder that the link lies in. A link to a file that is gone counts as an image: it is
        reported when it is loaded.
    """
    if not folder.is_dir():
        raise BadInputError(f"no such folder: '{folder}'")
    files = sorted(_walk(folder, "", frozenset()))
    if not files:
        raise BadInputError(f"no image in folder '{folder}'; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
    labels = [file.split("/", 1)[0] if "/" in file else None for file in files]
    return FileSource(str(folder), folder, files, labels)


def holds_image(folder: Path) -> bool:
    """Return whether there is an image in the folder or below it."""
    return next(_walk(folder, "", frozenset()), None) is not None


def _walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the image files below folder; `above` holds device and inode of the folders it lies in."""
    try:
        status = folder.stat()
        here = status.st_dev, status.st_ino
        if here in above:
            return
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        raise BadInputError(f"cannot read folder '{folder}': {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", above | {here})
        elif is_image_name(entry.name) and (entry.is_file() or entry.is_symlink()):
            yield prefix + entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def list_source(path: Path) -> FileSource:
    """Return the images that a list file names, in the order of the list.

    Args:
        path: A UTF-8 text file, one image a line: its path, absolute or relative to the folder of the list,
            then, if it has one, its label. In .tsv files a tab parts the two; in .csv files a comma, with
            quotes as usual; in other files a tab, or a comma or blank after an image suffix. Blank lines,
            further columns, and a first row of .csv and .tsv that reads like "path,label", are passed over.

    Raises:
        BadInputError: The list cannot be read, is not UTF-8, or names nothing. That an image is not there
            is no error yet: `load` reports it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInputError(f"cannot read list '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"list '{path}' is not UTF-8 text (byte {error.start}); convert it first"
        ) from error
    if path.suffix.lower() in (".csv", ".tsv"):
        rows = _table(text, "," if path.suffix.lower() == ".csv" else "\t", path)
    else:
        rows = [_line(line.strip()) for line in text.split("\n") if line.strip()]
    if not rows:
        raise BadInputError(f"list '{path}' names no image; write one path a line")
    return FileSource(str(path), path.parent, [file for file, _ in rows], [label for _, label in rows])


def _table(text: str, delimiter: str, path: Path) -> list[tuple[str, str | None]]:
    lines = text.split("\n")
    try:
        cells = csv.reader(lines) if delimiter == "," else (line.split(delimiter) for line in lines)
        rows = [[cell.strip() for cell in row] for row in cells]
    except csv.Error as error:
        raise BadInputError(f"cannot read list '{path}' as comma-separated values: {error}") from error
    rows = [row for row in rows if row and row[0]]
    if rows and rows[0][0].lower() in _HEADERS:
        del rows[0]
    return [(row[0], row[1] or None if len(row) > 1 else None) for row in rows]


def _line(line: str) -> tuple[str, str | None]:
    if "\t" in line:
        file, label = line.split("\t", 1)
        return file.strip(), label.strip() or None
    # "a, b.jpg" is one path and "a b.jpg,cat" has a label: what parts them stands behind an image suffix.
    labelled = None if is_image_name(line) else _LABELLED.fullmatch(line)
    return (labelled[1], labelled[2] or None) if labelled else (line, None)
