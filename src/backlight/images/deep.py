"""Pictures of more than 8 bits a channel: 16-bit grey, integers and floats of TIFF and NumPy files, arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import ImageError
from backlight.images.framing import centre_box, resized

ValueRange: TypeAlias = tuple[int | float, int | float]
"""(LOW, HIGH): the stored values that are black and white."""

_LUMA = np.array([19595, 38470, 7471], np.float64) / 65536  # as Pillow turns RGB into L
_SAMPLE = 65_536
_TAIL_PERCENT = 0.5


@dataclass(frozen=True)
class Observed:
    """Which values a picture holds, and which are taken for black and white.

    Attributes:
        limits: The values that become 0 (black) and 1 (white).
        lowest: The smallest value.
        highest: The largest.
        usual: Between which two nearly all lie: a single hot pixel does not move them. Of a sample of the pixels.
        share_outside: Share of the values outside of `limits`, which are clipped.
    """

    limits: ValueRange
    lowest: float
    highest: float
    usual: tuple[float, float]
    share_outside: float


@final
@dataclass(frozen=True, eq=False)
class DeepPicture:
    """A picture of more than 8 bits a channel, with its values as they were stored.

    It answers `size`, `width`, `height`, `crop` and `convert` as a Pillow image does.

    Attributes:
        values: (h, w) grey or (h, w, 3) colour; integers or floats.
        limits: The values taken for black and white where no range is given.
        observed: The values before `ranged` scaled them to 0..1; None until then.
        clips: Whether what lies outside of `limits` is meant to be clipped, as outside of a window of DICOM.

    Example:
        >>> DeepPicture(np.array([[0, 4095]], np.uint16), (0, 65535)).ranged((0, 4095)).values
        array([[0., 1.]], dtype=float32)
    """

    values: NDArray[np.generic]
    limits: ValueRange
    observed: Observed | None = None
    clips: bool = False

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.values.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), in Pillow's order."""
        return self.width, self.height

    def crop(self, box: tuple[int, int, int, int]) -> DeepPicture:
        """Return the part in (left, top, right, bottom), Pillow's order, inside of the picture."""
        left, top, right, bottom = box
        return replace(self, values=self.values[top:bottom, left:right])

    def with_channels(self, channels: int) -> DeepPicture:
        """Return a picture that can be shown to a network of so many channels: for 1, colour becomes luma.

        *Convention*: grey stays one plane, of which `normalise` and `convert` make three equal ones.
        """
        if channels != 1 or self.values.ndim == 2:
            return self
        return replace(self, values=self.values.astype(np.float64) @ _LUMA)  # (h, w, 3) @ (3,) -> (h, w)

    def ranged(self, value_range: ValueRange | None = None) -> DeepPicture:
        """Return the picture with its values scaled to 0..1, float32.

        Args:
            value_range: The values that become 0 and 1; what lies outside is clipped, and counted in `observed`.
                None takes `limits`.

        Raises:
            ImageError: A value is not finite, or, where no range is given, lies outside of `limits` and must not.
        """
        low, high = value_range or self.limits
        lowest, highest = float(self.values.min()), float(self.values.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise ImageError("the picture holds NaN or infinite values; replace them by numbers")
        values = self.values.astype(np.float64)
        if self.clips and value_range is None:
            values = np.clip(values, low, high)
            lowest, highest = float(values.min()), float(values.max())
        if value_range is None and (lowest < low or highest > high):
            kind = "integers" if self.values.dtype.kind in "iu" else "floats"
            raise ImageError(
                f"{kind} from {lowest:g} to {highest:g}: without a range, grey must lie in {low:g}..{high:g}; say "
                "which values are black and white (--range LOW,HIGH; in Python Preprocessing(range=(LOW, HIGH)))"
            )
        # a picture that is scaled again, after a resize for example, keeps what was seen of the stored values
        observed = self.observed or _observe(values, (low, high), (lowest, highest))
        scaled = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
        return DeepPicture(scaled, (0.0, 1.0), observed)

    def resized(self, size: tuple[int, int], interpolation: str) -> DeepPicture:
        """Return the picture resized to (h, w) as an 8-bit picture would be, without rounding to 8 bits.

        *Convention*: what bicubic and Lanczos overshoot is clipped to 0..1, as it is in 8-bit pictures.
        """
        planes = [
            np.asarray(resized(Image.fromarray(plane), size, interpolation)) for plane in self._planes()
        ]
        values = planes[0] if self.values.ndim == 2 else np.stack(planes, 2)
        return replace(self, values=np.clip(values, 0, 1))

    def centred(self, size: tuple[int, int]) -> DeepPicture:
        """Return the centre crop (h, w), padded with black where the picture is smaller."""
        top, left = centre_box((self.height, self.width), size)
        # The rows and columns that the picture has; where the crop begins before the first of them, black stays.
        inside = self.values[max(top, 0) : top + size[0], max(left, 0) : left + size[1]].astype(np.float32)
        values = np.zeros((*size, *self.values.shape[2:]), np.float32)
        down, across = max(-top, 0), max(-left, 0)
        values[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
        return replace(self, values=values)

    def planes(self, channels: int) -> Float32[np.ndarray, "c h w"]:
        """Return the values of a picture that is `ranged` as (channels, h, w)."""
        # (1, h, w) or (3, h, w); grey repeats for a network of three channels
        planes = np.stack(self._planes())
        return planes if len(planes) == channels else np.repeat(planes, channels, axis=0)

    def convert(self, mode: str) -> Image.Image:
        """Return the picture as 8-bit "L" or "RGB", to be shown: black and white are its limits.

        Raises:
            ImageError: As for `ranged`.
        """
        scaled = self.ranged() if self.observed is None else self
        # the cast cuts off, and 0.5 more makes that rounding
        return Image.fromarray((scaled.values.astype(np.float32) * 255 + 0.5).astype(np.uint8)).convert(mode)

    def _planes(self) -> list[NDArray[np.float32]]:
        values = self.values.astype(np.float32)
        return [values] if values.ndim == 2 else [np.ascontiguousarray(values[..., c]) for c in range(3)]


Picture: TypeAlias = Image.Image | DeepPicture


def _observe(values: NDArray[np.float64], limits: ValueRange, extremes: tuple[float, float]) -> Observed:
    flat = values.ravel()
    # every so manieth value, at most _SAMPLE of them; the extremes and the share outside are those of all
    sample = flat[:: 1 + flat.size // _SAMPLE]
    usual = np.percentile(sample, [_TAIL_PERCENT, 100 - _TAIL_PERCENT])
    outside = np.count_nonzero((flat < limits[0]) | (flat > limits[1]))
    return Observed(limits, *extremes, (float(usual[0]), float(usual[1])), outside / flat.size)
