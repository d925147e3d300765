"""What commands write: pictures, figures and numbers; and whether they can be written, before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from backlight.cli.output import say
from backlight.errors import BadInputError
from backlight.storage import check_place, replacing

if TYPE_CHECKING:
    from PIL import Image

    from backlight.render.plots import Plot
    from backlight.studies.results import Result

_DPI = 130


def check_output(path: Path) -> Path:
    """Return the path of a picture to write, refusing what cannot be written before any work is done."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise BadInputError(f"a picture is written as .png, .jpg or .webp, got {str(path)!r}")
    return check_place(path, "picture")


def check_plot(output: Path | None, save: Path | None) -> None:
    """Refuse a figure or numbers that cannot be written, before any work is done."""
    if output is not None and output.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise BadInputError(f"a figure is written as .png, .pdf or .svg, got {str(output)!r}")
    if output is not None:
        check_place(output, "figure")
    if save is not None:
        from backlight.studies.results import result_paths

        for path in result_paths(save):
            check_place(path, "file of numbers")


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
            with replacing(output) as (fresh,):
                figure.savefig(fresh, dpi=_DPI)
            say("{}", output)


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture.

    Raises:
        StorageError: It cannot be written; a picture that was there is as it was.
    """
    with replacing(path) as (fresh,):
        picture.save(fresh)
