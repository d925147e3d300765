"""Whether what was typed is an atlas: commands that take an atlas or a model decide by the file."""

from __future__ import annotations

from pathlib import Path

_SQLITE = b"SQLite format 3\0"


def is_atlas(source: str) -> bool:
    """Return whether a file is an atlas, or is called one: `open_atlas` says what is wrong with it then."""
    try:
        with Path(source).open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE or source.endswith(".atlas")
    except (OSError, ValueError):  # no such file, a folder; a null byte in its name
        return source.endswith(".atlas")
