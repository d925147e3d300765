"""What the texts of flags stand for: numbers, sizes, lists, names of layers."""

from __future__ import annotations

from math import floor, isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from backlight.errors import BadInputError

if TYPE_CHECKING:
    from backlight.studies.covering import Fill

AMOUNTS_HELP = "such as -60,0,60, or first:last:step"
_MOST_AMOUNTS = 10_000


def parse_seed_value(text: str) -> float | Literal["activation"]:
    """Return what `--seed-value` says."""
    if text.strip() == "activation":
        return "activation"
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not isfinite(value):
        raise BadInputError(f"--seed-value is `activation` or a number such as 1, got {text!r}")
    return value


def parse_size(text: str) -> tuple[int, int]:
    """Return (h, w) of `224` or `224x320`."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(p.strip().isdigit() for p in parts):
        raise BadInputError(f"--size is one number or HxW, such as 224 or 224x320, got {text!r}")
    return int(parts[0]), int(parts[-1])


def parse_sides(flag: str, text: str) -> int | tuple[int, int]:
    """Return the side of `32`, or (h, w) of `32x16`.

    Example:
        >>> parse_sides("--square", "32"), parse_sides("--stride", "8x4")
        (32, (8, 4))
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise BadInputError(f"{flag} is a number of pixels or HxW, such as 32 or 32x16, got {text!r}")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def parse_cover(text: str) -> str | tuple[float, ...]:
    """Return the fill or colour of that name, or the numbers of `0` and `0.5,0,-0.5`.

    Example:
        >>> parse_cover("blur"), parse_cover("#808080"), parse_cover("0")
        ('blur', '#808080', (0.0,))
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return text


def parse_range(text: str) -> tuple[float, float]:
    """Return (LOW, HIGH) of `0,4095`.

    Raises:
        BadInputError: Not two numbers, the lower first.

    Example:
        >>> parse_range("-1024,3071")
        (-1024.0, 3071.0)
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = nan
    if not (isfinite(low) and isfinite(high) and low < high):
        raise BadInputError(f"--range is two numbers LOW,HIGH, the lower first, such as 0,4095, got {text!r}")
    return low, high


def parse_numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    """Return the numbers of `0.48,0.46,0.41`; None where the flag is not given."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInputError(f"{flag} is a list of numbers such as 0.48,0.46,0.41, got {text!r}") from error


def parse_maps(text: str) -> int | list[int] | None:
    """Return the feature maps that `16`, `all`, `3,17,40` or `0-31` means; None for all."""
    if text == "all":
        return None
    found = _indices(text)
    if not found:
        raise BadInputError(f"--maps is a number, a list such as 3,17,40 or 0-31, or all, got {text!r}")
    return found if "," in text or "-" in text else found[0]


def parse_channels(text: str) -> list[int]:
    """Return the channels of `3`, `3,17,40`, `0-31` (both ends count) or a mixture, each once.

    Example:
        >>> parse_channels("3,5,8-10")
        [3, 5, 8, 9, 10]
    """
    found = _indices(text)
    if not found:
        raise BadInputError(f"--channels is a list such as 3,17,40 or 0-31, got {text!r}")
    return found


def parse_layers(text: str) -> list[str] | None:
    """Return the layer names of `all` (every default layer) or `features.3.cat,features.7.cat`."""
    if text == "all":
        return None
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise BadInputError(f"--layers is a list of layer names, or all, got {text!r}")
    return names


def parse_fill(text: str) -> Fill:
    """Return the fill of that name."""
    from backlight.studies.covering import check_fills

    check_fills([text])
    return cast("Fill", text)


def parse_fills(text: str) -> tuple[Fill, ...]:
    """Return the fills of `mean,blur`."""
    return tuple(parse_fill(part.strip()) for part in text.split(","))


def parse_percents(flag: str, text: str) -> tuple[float, ...]:
    """Return the shares, as fractions, of `5,10,20`."""
    try:
        return tuple(float(part) / 100 for part in text.split(","))
    except ValueError as error:
        raise BadInputError(f"{flag} is a list of percentages such as 5,20, got {text!r}") from error


def parse_amounts(flag: str, text: str) -> tuple[float, ...]:
    """Return the numbers of `-60,0,60`, of `-60:60:5` (first, last and step), or of a mixture of both.

    Raises:
        BadInputError: Something else, or a step that does not lead from the first to the last.

    Example:
        >>> parse_amounts("--scale", "1:1.3:0.1,2")
        (1.0, 1.1, 1.2, 1.3, 2.0)
    """
    found: list[float] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            numbers = [float(number) for number in part.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or not all(map(isfinite, numbers)):
            raise BadInputError(f"{flag} is a list of numbers, {AMOUNTS_HELP}, got {text!r}")
        found += numbers if len(numbers) == 1 else _steps(flag, *numbers)
    return tuple(found)


def parse_whole(flag: str, text: str) -> tuple[int, ...]:
    """Return the whole numbers that `parse_amounts` reads."""
    numbers = parse_amounts(flag, text)
    if any(number != int(number) for number in numbers):
        raise BadInputError(f"{flag} takes whole numbers, got {text!r}")
    return tuple(map(int, numbers))


def read_labels(path: Path | None) -> tuple[str, ...]:
    """Return the names of classes that `--labels` gives, in the order of the classes; of None nothing.

    Raises:
        BadInputError: They cannot be read, or are not those of classes 0, 1, 2 and so on.

    Example:
        >>> read_labels(None)
        ()
    """
    from backlight.images import class_names, in_order

    if path is None:
        return ()
    found = in_order(class_names(path))
    if not found:
        raise BadInputError(f"the labels {str(path)!r} must name the classes 0, 1, 2 and so on, each once")
    return found


def _indices(text: str) -> list[int]:
    """Return the numbers of a list of numbers and ranges, each once; none where anything else stands in it."""
    found: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isdecimal() for end in ends):
            return []
        first, last = int(ends[0]), int(ends[-1])
        # a range of this length is a slip of the finger; no layer has so many maps
        if not first <= last < first + _MOST_AMOUNTS:
            return []
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def _steps(flag: str, first: float, last: float, step: float) -> list[float]:
    if step == 0 or not 0 <= (last - first) / step < _MOST_AMOUNTS:
        raise BadInputError(
            f"{flag}: the step must lead from the first to the last in less than {_MOST_AMOUNTS} steps, "
            f"as in -60:60:5, got {first:g}:{last:g}:{step:g}"
        )
    count = floor((last - first) / step + 1e-9)
    return [round(first + i * step, 9) for i in range(count + 1)]


def parse_sample(text: str) -> int | None:
    """Return how many feature maps `--maps` asks for; None for all.

    Raises:
        BadInputError: It is neither a number nor all.

    Example:
        >>> parse_sample("16"), parse_sample("all")
        (16, None)
    """
    if text != "all" and not text.isdigit():
        raise BadInputError(f"--maps is a number or all, got {text!r}")
    return None if text == "all" else int(text)
