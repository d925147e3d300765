"""Checkpoints by a pattern, the labels that they get as steps, and the natural order of labels."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from backlight.errors import BadInputError


def find_checkpoints(pattern: str) -> list[Path]:
    """Return the files that a pattern such as `runs/*.pt` finds, `**` reaching into folders; or the file of that name.

    Raises:
        BadInputError: It finds none.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        raise BadInputError(
            f"{pattern!r} is a folder; give a pattern of the files in it, such as '{pattern}/*.pt'"
        )
    named = [path] if path.is_file() else [Path(own) for own in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    found = [own for own in named if own.is_file()]
    if not found:
        raise BadInputError(
            f"no checkpoint is found by {pattern!r}; give a file, or a pattern such as 'runs/*.pt'"
        )
    return found


def natural_key(label: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts labels as people do: by the numbers in them, `epoch2` before `epoch10`.

    Example:
        >>> sorted(["epoch10", "epoch2", "last", "epoch2b"], key=natural_key)
        ['epoch2', 'epoch2b', 'epoch10', 'last']
    """
    parts = re.split(r"(\d+)", label)
    # what ends comes before what goes on, numbers before words; the text itself decides between 2 and 02
    return (*((0, int(own), "") if own.isdecimal() else (1, 0, own) for own in parts if own), (-1, 0, label))


def labels_of(paths: Sequence[Path]) -> list[str]:
    """Return a label for each checkpoint: its name without the ending; where names are alike, the folders that differ.

    Example:
        >>> labels_of([Path("runs/epoch2.pt"), Path("runs/epoch10.pt")])
        ['epoch2', 'epoch10']
        >>> labels_of([Path("runs/checkpoint-5/model.safetensors"), Path("runs/checkpoint-9/model.safetensors")])
        ['checkpoint-5', 'checkpoint-9']
    """
    names = [path.stem for path in paths]
    if len(set(names)) == len(paths):
        return names
    parts = [path.with_suffix("").parts for path in paths]
    first, last = _shared(parts), _shared([own[::-1] for own in parts])
    found = ["/".join(own[first : len(own) - last]) for own in parts]
    # two files of one name with other endings, or of which one's folder holds the other's
    return found if all(found) and len(set(found)) == len(found) else [path.as_posix() for path in paths]


def step_number(label: str, place: int) -> int:
    """Return the number that a logger takes for a step: the last one in its label, else its place.

    Example:
        >>> step_number("epoch=3-step=120", 0), step_number("last", 7)
        (120, 7)
    """
    numbers = re.findall(r"\d+", label)
    return int(numbers[-1]) if numbers else place


def told_apart_steps(steps: Sequence[str]) -> list[str]:
    """Return labels of steps without the beginning and the end that all have in common, as far as these have no digits.

    Example:
        >>> told_apart_steps(["epoch1", "epoch12"]), told_apart_steps(["1_ema", "12_ema"])
        (['1', '12'], ['1', '12'])
    """
    # turned around, the ends are beginnings
    turned = _without_shared([own[::-1] for own in _without_shared(steps)])
    return [own[::-1] for own in turned]


def _without_shared(labels: Sequence[str]) -> list[str]:
    """Return labels without the letters before their first digit, where all begin with the same ones."""
    starts = {re.split(r"\d", own, maxsplit=1)[0] for own in labels}
    has_digits = all(re.search(r"\d", own) for own in labels)
    same = len(next(iter(starts))) if len(starts) == 1 and has_digits else 0
    return [own[same:] for own in labels]


def _shared(parts: Sequence[tuple[str, ...]]) -> int:
    """Return how many of the first parts all have in common."""
    found = 0
    for own in zip(*parts, strict=False):
        if len(set(own)) > 1:
            break
        found += 1
    return found
