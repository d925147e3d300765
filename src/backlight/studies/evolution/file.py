"""The file of an evolution: one .npz, written whole after each step, and checked when it is read."""

from __future__ import annotations

from pathlib import Path

from backlight.errors import BadInputError, first_line
from backlight.storage import locked, replacing
from backlight.studies.evolution.result import EvolutionResult

SUFFIX = ".npz"


def open_evolution(path: Path | str) -> EvolutionResult:
    """Return the evolution that a file holds; nothing in the file is run.

    Raises:
        BadInputError: There is no such file, it holds something else, or it is damaged.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInputError(f"cannot read the evolution {str(path)!r} ({reason})") from error
    try:
        return EvolutionResult.from_bytes(data)
    except BadInputError as error:
        reason = first_line(error.__cause__ or error)
        raise BadInputError(
            f"{str(path)!r} is no evolution, or it is damaged ({reason}); move it away to start over"
        ) from error


def write_evolution(result: EvolutionResult, path: Path | str) -> None:
    """Write an evolution in the place of an older one; a kill leaves the one or the other, whole.

    Raises:
        StorageError: It cannot be written, or another process is writing it.
    """
    with locked(path), replacing(path) as (fresh,):
        fresh.write_bytes(result.to_bytes())
