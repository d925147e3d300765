"""Names of classes from a file."""

from __future__ import annotations

from pathlib import Path

from backlight.errors import BadInputError


def read_labels(path: Path | None) -> tuple[str, ...]:
    """Return the lines of a text file, the names of classes in their order; of None nothing.

    Raises:
        BadInputError: It cannot be read, or is no text.

    Example:
        >>> read_labels(None)
        ()
    """
    if path is None:
        return ()
    try:
        return tuple(line.strip() for line in path.read_text("utf-8").rstrip().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BadInputError(
            f"cannot read the labels {str(path)!r} ({reason}); give a text file with one name a line"
        ) from error
