"""Folders of images, and lists of them."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from backlight.errors import BacklightWarning, BadInputError, tell
from backlight.images.addresses import is_address
from backlight.images.dicom import DICOM_INSTALL, DICOM_SUFFIXES, N_START, has_pydicom, is_dicom
from backlight.images.remote_files import AddressSource
from backlight.images.sources import (
    ARRAY_SUFFIX,
    IMAGE_SUFFIXES,
    FileSource,
    choose_pictures,
    is_array_name,
    is_image_name,
)
from backlight.text import counted, shortened

LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv"})

# fmt: off
OTHER_SUFFIXES = frozenset({
    ".heic", ".heif", ".svg", ".psd", ".exr", ".hdr", ".jxl", ".jxr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw",
    ".nii", ".mha", ".mhd", ".nrrd", ".fits", ".fit", ".czi", ".lif", ".nd2", ".svs", ".ndpi", ".npz", ".mat", ".h5",
    ".mp4", ".mov", ".avi", ".mkv", ".webm", ".eps", ".pdf",
})
"""Files of pictures in formats that are not read: those in a folder are counted, and told."""
# fmt: on

_HEADERS = frozenset({"path", "file", "filename", "file_name", "image", "image_path"})
_SUFFIX = "|".join(map(re.escape, sorted({*IMAGE_SUFFIXES, ARRAY_SUFFIX}, key=len, reverse=True)))
_MOST_VISITS = 1000
_DICOM_INDEX = "DICOMDIR"
"""A file that lists the DICOM files beside it, and is one without pixels."""
_UNNAMED = "DICOM without a suffix"
_MOST_LIST_BYTES = 2**30
_LABELLED = re.compile(rf"(.*(?:{_SUFFIX}))\s*[,\s]\s*(.*)", re.IGNORECASE)


def folder_source(folder: Path) -> FileSource:
    """Return the images in a folder and the folders below it, sorted by their path relative to it.

    The first folder of an image's relative path is its label; an image in the folder itself has none.

    Args:
        folder: The folder. Hidden files and folders (a leading dot) are skipped, and so are files that do not
            end in one of `IMAGE_SUFFIXES`, but for DICOM files whose names have no such end (`IM0001`).
            Arrays (.npy) are read where there is no image file.

    Raises:
        BadInputError: No such folder, no permission to read one, links that lead to one again and again, or no image.

    Convention:
        Sorted by code point: upper before lower case, "10.jpg" before "9.jpg". Links to folders are followed,
        but not into a folder that contains the link. A link to a missing file counts as an image: it is
        reported when it is loaded.
    """
    if not folder.is_dir():
        raise BadInputError(f"no such folder: '{folder}'")
    found, others = [], Counter[str]()
    for _, prefix, entries in _folders(folder):
        found += [prefix + entry.name for entry in entries if _is_picture(entry)]
        others.update(filter(None, map(_other_format, entries)))
    unread = _in_words(others, found)
    if not found:
        looked_for = ", ".join(sorted({*IMAGE_SUFFIXES, ARRAY_SUFFIX}))
        beside = f"; it has {unread}" if unread else ""
        raise BadInputError(f"no image in folder '{folder}'; looked for {looked_for}{beside}")
    if unread:
        tell(BacklightWarning(f"folder '{folder}' has {unread}"))
    found.sort()
    files = [found[i] for i in choose_pictures(found, str(folder))]
    labels = [file.split("/", 1)[0] if "/" in file else None for file in files]
    return FileSource(str(folder), folder, files, labels)


def holds_image(folder: Path) -> bool:
    """Return whether there is an image in the folder or below it."""
    return any(not is_array_name(name) for name in _walk(folder))


def folders_below(top: Path) -> Iterator[Path]:
    """Yield a folder and those below it, in no order, as `folder_source` goes through them."""
    return (folder for folder, _, _ in _folders(top))


def _walk(top: Path) -> Iterator[str]:
    """Yield the image and array files below a folder, in no order."""
    for _, prefix, entries in _folders(top):
        yield from (prefix + entry.name for entry in entries if _is_picture(entry))


def _folders(top: Path) -> Iterator[tuple[Path, str, list[os.DirEntry[str]]]]:
    """Yield the folders below one, the prefix of their files' names, and their entries but for hidden ones.

    Without recursion: folders may be nested more deeply than Python's stack allows.
    """
    visits: Counter[tuple[int, int]] = Counter()
    # A folder, the prefix of its files' names, and device and inode of the folders that contain it.
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(top, "", frozenset())]
    while waiting:
        folder, prefix, above = waiting.pop()
        here, entries = _entries(folder)
        if here in above:
            continue
        visits[here] += 1
        if visits[here] > _MOST_VISITS:
            raise BadInputError(
                f"links lead to folder '{folder}' more than {_MOST_VISITS} times; remove some, or give a list file"
            )
        for entry in filter(_is_folder, entries):
            waiting.append((folder / entry.name, f"{prefix}{entry.name}/", above | {here}))
        yield folder, prefix, [entry for entry in entries if not _is_folder(entry)]


def _is_picture(entry: os.DirEntry[str]) -> bool:
    has_name = is_image_name(entry.name) or is_array_name(entry.name)
    if has_name:
        return entry.is_symlink() or entry.is_file()
    return _has_no_suffix(entry.name) and _starts_as_dicom(entry)


def _has_no_suffix(name: str) -> bool:
    """Return whether nothing in a name says what the file is: `IM0001`, or a number of DICOM such as `1.2.840.7`."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122  (100,000 Paths are slow)
    return (not suffix or suffix[1:].isdecimal()) and name.upper() != _DICOM_INDEX


def _starts_as_dicom(entry: os.DirEntry[str]) -> bool:
    try:
        if not entry.is_file():  # a pipe would wait for whoever writes it
            return False
        with open(entry.path, "rb") as stream:  # noqa: PTH123  (100,000 Paths are slow)
            return is_dicom(stream.read(N_START))
    except OSError:  # a link to itself, no permission
        return False


def _other_format(entry: os.DirEntry[str]) -> str | None:
    """Return how the name of a picture ends whose format is not read; None for all else."""
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  (100,000 Paths are slow)
    return suffix if suffix in OTHER_SUFFIXES else None


def _in_words(others: Counter[str], found: Sequence[str]) -> str:
    """Return how many pictures a folder has that are not read; empty for none."""
    counts = Counter(others)
    if not has_pydicom():  # they are listed, and skipped one by one with this reason
        endings = (os.path.splitext(name)[1].lower() for name in found)  # noqa: PTH122
        counts.update(ending for ending in endings if ending in DICOM_SUFFIXES)
        n_unnamed = sum(map(_has_no_suffix, found))
        counts.update({_UNNAMED: n_unnamed} if n_unnamed else {})
    if not counts:
        return ""
    several = ", ".join(f"{n} {suffix}" for suffix, n in counts.most_common())
    hint = f"; {DICOM_INSTALL} reads DICOM" if {*DICOM_SUFFIXES, _UNNAMED} & set(counts) else ""
    total = sum(counts.values())
    return f"{counted(total, 'file')} of formats that are not read: {several}{hint}"


def _entries(folder: Path) -> tuple[tuple[int, int], list[os.DirEntry[str]]]:
    """Return device and inode of a folder, and its entries but for hidden ones."""
    try:
        status = folder.stat()
        with os.scandir(folder) as found:
            return (status.st_dev, status.st_ino), [own for own in found if not own.name.startswith(".")]
    except OSError as error:
        raise BadInputError(
            f"cannot read folder '{shortened(str(folder), 200, keep='both')}': {error.strerror}"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def list_source(path: Path) -> FileSource | AddressSource:
    """Return the images that a list file names, in the order of the list.

    Args:
        path: A UTF-8 text file, one image per line: its path, absolute or relative to the folder of the list, or its
            address, then, if it has one, its label. In .tsv files a tab separates the two; in .csv files a comma, with
            quotes as usual; in other files a tab, or a comma or blank after an image suffix. Blank lines,
            further columns, and a first row of .csv and .tsv that reads like "path,label", are ignored.

    Raises:
        BadInputError: The list cannot be read, is not UTF-8, or names nothing, or a package is missing that reads
            addresses. A missing image is no error yet: `load` reports it.
    """
    try:
        check_list_size(path.stat().st_size, str(path))
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot read list '{path}': {error.strerror}") from error
    files, labels = listed(data, path.suffix.lower(), str(path))
    if any(map(is_address, files)):
        return AddressSource(str(path), path.parent.absolute(), files, labels)
    return FileSource(str(path), path.parent, files, labels)


def check_list_size(n_bytes: int, name: str) -> None:
    """Raise `BadInputError` for a list file that is too large to be read."""
    if n_bytes > _MOST_LIST_BYTES:
        raise BadInputError(
            f"list '{name}' has {n_bytes} bytes, of which at most {_MOST_LIST_BYTES} are read; split it"
        )


def listed(data: bytes, suffix: str, name: str) -> tuple[list[str], list[str | None]]:
    """Return the files that a list names, and the label of each.

    Args:
        data: What the list file holds.
        suffix: How its name ends, in lower case; see `list_source`.
        name: How messages call it.

    Raises:
        BadInputError: It is not UTF-8, or names nothing.
    """
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"list '{name}' is not UTF-8 text (byte {error.start}); convert it first"
        ) from error
    if suffix in (".csv", ".tsv"):
        rows = _table(text, "," if suffix == ".csv" else "\t", name)
    else:
        rows = [_line(line.strip()) for line in text.split("\n") if line.strip()]
    if not rows:
        raise BadInputError(f"list '{name}' names no image; write one path per line")
    return [file for file, _ in rows], [label for _, label in rows]


def _table(text: str, delimiter: str, name: str) -> list[tuple[str, str | None]]:
    lines = text.split("\n")
    try:
        cells = csv.reader(lines) if delimiter == "," else (line.split(delimiter) for line in lines)
        rows = [[cell.strip() for cell in row] for row in cells]
    except csv.Error as error:
        raise BadInputError(f"cannot read list '{name}' as comma-separated values: {error}") from error
    rows = [row for row in rows if row and row[0]]
    if rows and rows[0][0].lower() in _HEADERS:
        del rows[0]
    return [(row[0], row[1] or None if len(row) > 1 else None) for row in rows]


def _line(line: str) -> tuple[str, str | None]:
    if "\t" in line:
        file, label = line.split("\t", 1)
        return file.strip(), label.strip() or None
    # "a, b.jpg" is one path and "a b.jpg,cat" has a label: the separator follows an image suffix.
    labelled = None if is_image_name(line) else _LABELLED.fullmatch(line)
    return (labelled[1], labelled[2] or None) if labelled else (line, None)
