"""Parts marked in images: boxes from a JSON file, and where they lie in what the network sees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.images import FunctionPreprocessing, ImageLike, Preprocessing
from backlight.images.framing import resized_size

_FORM = '{"images": {"dog1.jpg": {"left eye": [top, left, bottom, right]}}}'


@dataclass(frozen=True)
class MarkedImage:
    """An image and the parts marked in it.

    Attributes:
        name: Its name in results and errors.
        image: A path, or anything that `backlight.images.decode` reads.
        boxes: The box of each part, in pixels of the upright picture (EXIF orientation applied) before any resize.
    """

    name: str
    image: ImageLike
    boxes: Mapping[str, Box]


def read_parts(path: Path | str) -> list[MarkedImage]:
    """Return the images and boxes of a JSON file.

    Args:
        path: A file such as `{"images": {"dog1.jpg": {"left eye": [top, left, bottom, right]}}}`: paths are
            relative to the file, boxes half-open in pixels of the pictures. A text `note` beside `images` is allowed.

    Raises:
        BadInputError: The file is missing, not JSON, or of another form; the message names the image and part.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "parts.json"
        ...     _ = file.write_text('{"images": {"dog1.jpg": {"nose": [80, 90, 100, 120]}}}')
        ...     read_parts(file)[0].boxes["nose"]
        Box(top=80, left=90, bottom=100, right=120)
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text("utf-8"), object_pairs_hook=_without_twins)
    except OSError as error:
        raise BadInputError(
            f"cannot read the boxes of {str(path)!r} ({error.strerror}); give a file of the form {_FORM}"
        ) from error
    except ValueError as error:
        raise BadInputError(f"{str(path)!r} is not JSON ({error}); the form is {_FORM}") from error
    if not isinstance(found, dict) or not isinstance(found.get("images"), dict):
        raise BadInputError(f'{str(path)!r} has no "images" with the parts of each; the form is {_FORM}')
    unknown = sorted(set(found) - {"images", "note"})
    if unknown:
        raise BadInputError(f'{str(path)!r} has the unknown entry {unknown[0]!r} beside "images"; remove it')
    return [
        MarkedImage(name, path.parent / name, _boxes(path, name, own))
        for name, own in found["images"].items()
    ]


def seen_box(preprocessing: Preprocessing, size: tuple[int, int], box: Box) -> Box:
    """Return where a box of a picture lies in what the network sees; it is empty where it is cropped away.

    Args:
        preprocessing: Its resize and centre crop.
        size: Height and width of the picture before these.
        box: The box, in pixels of that picture.

    Raises:
        BadInputError: The preprocessing is a function.

    *Convention*: the smallest box of whole pixels that contains the resized box, then clipped to the crop.

    Example:
        >>> seen_box(Preprocessing(256, (224, 224), (0.5,), (0.25,)), (512, 768), Box(100, 200, 140, 260))
        Box(top=34, left=20, bottom=54, right=50)
    """
    if isinstance(preprocessing, FunctionPreprocessing):
        raise BadInputError(
            "the boxes of a picture cannot be followed through a preprocessing that is a Python function; describe its "
            "steps as a Preprocessing(resize, crop, mean, std)"
        )
    top, bottom = _along(
        size[0], resized_size(size, preprocessing.resize)[0], preprocessing.crop[0], box.top, box.bottom
    )
    left, right = _along(
        size[1], resized_size(size, preprocessing.resize)[1], preprocessing.crop[1], box.left, box.right
    )
    return Box(top, left, bottom, right).clip(*preprocessing.crop)


def checked_box(preprocessing: Preprocessing, size: tuple[int, int], where: tuple[str, str], box: Box) -> Box:
    """Return the `seen_box` of a part, checked.

    Args:
        preprocessing: Its resize and centre crop.
        size: Height and width of the picture before these.
        where: The image's name and the part, for the message.
        box: The box, in pixels of that picture.

    Raises:
        BadInputError: The box is empty, reaches outside the picture, or lies outside what the network sees.

    Example:
        >>> checked_box(Preprocessing(None, (8, 8), (0.5,), (0.5,)), (10, 10), ("dog", "nose"), Box(0, 4, 3, 6))
        Box(top=0, left=3, bottom=2, right=5)
    """
    name, part = where
    what = f"the box of {part!r} in {name}, {[box.top, box.left, box.bottom, box.right]},"
    if box.height < 1 or box.width < 1:
        raise BadInputError(
            f"{what} is empty; a box is [top, left, bottom, right] with top < bottom, left < right"
        )
    if not Box(0, 0, *size).contains(box):
        raise BadInputError(
            f"{what} reaches outside the picture of {size[0]}x{size[1]} pixels (height x width); correct it"
        )
    seen = seen_box(preprocessing, size, box)
    if not seen.area:
        raise BadInputError(
            f"{what} lies outside the centre crop that the network sees; remove the part or the image"
        )
    return seen


def part_names(images: Sequence[MarkedImage]) -> list[str]:
    """Return the parts in the order in which they first appear.

    Raises:
        BadInputError: There are fewer than two images, or a part is marked in only one.

    Example:
        >>> part_names([MarkedImage(name, name, {"nose": Box(0, 0, 2, 2)}) for name in ("a.jpg", "b.jpg")])
        ['nose']
    """
    if len(images) < 2:
        raise BadInputError(f"correspondence compares images and needs at least two, got {len(images)}")
    counts: dict[str, int] = {}
    for image in images:
        for part in image.boxes:
            counts[part] = counts.get(part, 0) + 1
    if not counts:
        raise BadInputError("no part is marked in any of the images; give boxes by part and image")
    single = [part for part, count in counts.items() if count < 2]
    if single:
        raise BadInputError(
            f"a part must be marked in at least two images, but {single[0]!r} is marked in one; "
            "mark it in another or take it out"
        )
    return list(counts)


def _along(before: int, after: int, crop: int, start: int, stop: int) -> tuple[int, int]:
    """Return a range of pixels along one axis after the resize and the centre crop, as torchvision rounds them."""
    # a crop larger than the picture pads it, by the smaller half before it
    moved = (crop - after) // 2 if after < crop else -round((after - crop) / 2)
    # Pixels scale by after / before, in whole numbers. The start is rounded down and the stop up (-(-a // b)), so that
    # the box keeps every pixel it touches.
    return start * after // before + moved, -(-stop * after // before) + moved


def _boxes(path: Path, name: str, own: Any) -> dict[str, Box]:
    if not isinstance(own, dict):
        raise BadInputError(f"{str(path)!r}: {name} has no parts by name; the form is {_FORM}")
    boxes = {}
    for part, values in own.items():
        if not isinstance(values, list) or len(values) != 4 or not all(type(v) is int for v in values):
            raise BadInputError(
                f"{str(path)!r}: the box of {part!r} in {name} must be four whole numbers "
                f"[top, left, bottom, right], got {json.dumps(values)}"
            )
        boxes[part] = Box(*values)
    return boxes


def _without_twins(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(entries)
    if len(found) < len(entries):
        names = [name for name, _ in entries]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} appears twice")
    return found
