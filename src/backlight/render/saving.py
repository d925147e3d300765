"""Saving figures: pictures and plots alike, as PNG, WebP, JPEG, PDF or SVG by the ending of the file's name."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from backlight.errors import BadInputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".webp", ".pdf", ".svg", ".jpg")
"""How figures are written."""

_DPI = 130
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'width="{0}" height="{1}" viewBox="0 0 {0} {1}">'
    '<image width="{0}" height="{1}" xlink:href="data:image/png;base64,{2}"/></svg>\n'
)


def check_format(path: Path) -> None:
    """Raise BadInputError where no figure is written as a file of this name."""
    if _format_of(path) not in FORMATS:
        known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise BadInputError(f"a figure is written as {known}, got {str(path)!r}")


def save_figure(figure: Image.Image | Figure, path: Path | str) -> None:
    """Write a figure: a picture such as `Atlas.figure` returns, or a plot such as `plot` of a study's result.

    *Convention*: a picture stays made of its pixels, without loss, in PDF and SVG too, at 130 pixels an inch; plots are
    lines there.

    Args:
        figure: The figure.
        path: The file; the ending of its name says how it is written.

    Raises:
        BadInputError: The ending is none of .png, .webp, .pdf, .svg and .jpg.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "figure.svg"
        >>> save_figure(Image.new("RGB", (4, 3)), path)
        >>> path.read_text()[:4]
        '<svg'
    """
    path = Path(path)
    check_format(path)
    if not isinstance(figure, Image.Image):
        figure.savefig(path, dpi=_DPI)
    elif _format_of(path) == ".svg":
        path.write_text(_SVG.format(figure.width, figure.height, _as_png(figure)), "utf-8")
    elif _format_of(path) == ".pdf":
        _write_pdf(figure, path)
    else:
        figure.save(path)


def _format_of(path: Path) -> str:
    ending = path.suffix.lower()
    return ".jpg" if ending == ".jpeg" else ending


def _as_png(picture: Image.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return b64encode(buffer.getvalue()).decode()


def _write_pdf(picture: Image.Image, path: Path) -> None:
    """Write a picture as a page of its size. Pillow would write it as JPEG, whose loss shows around text."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(picture.width / _DPI, picture.height / _DPI), dpi=_DPI)
    axes = page.add_axes((0, 0, 1, 1))
    axes.axis("off")
    # `none` keeps every pixel as it is, whatever the size that it is drawn at
    axes.imshow(np.asarray(picture.convert("RGB")), interpolation="none", aspect="auto")
    page.savefig(path, metadata={"CreationDate": None})
