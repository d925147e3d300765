"""What commands write: pictures, figures and numbers; and whether they can be written, before any work is done."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from backlight.cli.output import say
from backlight.render.saving import check_format, save_figure
from backlight.storage import check_place, replacing

if TYPE_CHECKING:
    from PIL import Image

    from backlight.render.plots import Plot
    from backlight.studies.results import Result

_LONGEST_NAME = 100


def figure_path(given: Path | None, *words: str) -> Path:
    """Return where a figure goes, refusing what cannot be written before any work is done.

    Args:
        given: The path that was given; None makes a name in this folder.
        words: What the figure shows: the name is made of them, with a number where a file has it already.
    """
    return check_output(given if given is not None else _free_name(words))


def check_output(path: Path) -> Path:
    """Return the path of a figure to write, refusing what cannot be written before any work is done."""
    check_format(path)
    return check_place(path, "figure")


def check_plot(output: Path | None, save: Path | None) -> None:
    """Refuse a figure or numbers that cannot be written, before any work is done."""
    if output is not None:
        check_output(output)
    if save is not None:
        from backlight.studies.results import result_paths

        for path in result_paths(save):
            check_place(path, "file of numbers")


def _free_name(words: Sequence[str]) -> Path:
    """Return a name for a figure that no file has: `photos-relu1.png`, then `photos-relu1-2.png`."""
    plain = (re.sub(r"[^\w.+]+", "-", word).strip("-.") for word in words)
    stem = "-".join(filter(None, plain))[:_LONGEST_NAME] or "figure"
    numbered = chain([f"{stem}.png"], (f"{stem}-{n}.png" for n in count(2)))
    return next(path for path in map(Path, numbered) if not path.exists())


def write_result(
    result: Result, output: Path | None, save: Path | None, plot: Callable[[], Plot] | None = None
) -> None:
    """Write a study's numbers and its figure, where they are asked for.

    Args:
        result: What the study found.
        output: Where its figure goes.
        save: Where its numbers go.
        plot: Draws the figure; None draws `result.plot()`.

    Raises:
        StorageError: They cannot be written.
    """
    try:
        if save is not None:
            result.save(save)
            say("{}.json, .npz", save.with_suffix(""))
    finally:  # where one of them cannot be written, the other is
        if output is not None:
            figure = (plot or result.plot)()
            write_figure(figure, output)
            say("{}", output)


def write_figure(figure: Image.Image | Plot, path: Path) -> None:
    """Write a picture or a plot.

    Raises:
        StorageError: It cannot be written; a file that was there is as it was.
    """
    with replacing(path) as (fresh,):
        save_figure(figure, fresh)


def changed_at(path: Path) -> int | None:
    """Return when a file was changed last, as the system counts; None where there is none."""
    return path.stat().st_mtime_ns if path.exists() else None
