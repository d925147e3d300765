"""Says when pictures use little of the range that is taken for black to white, leave it, or lose bits."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

from PIL import Image

from backlight.errors import RangeWarning, tell
from backlight.images.decode import CUT
from backlight.images.deep import DeepPicture, Observed, Picture

SMALL_PART = 0.25
"""Pictures that use no more of the range than this are reported."""


class RangeWatch:
    """Watches the pictures that go to a network, and warns at most once about each of three faults.

    The first pictures that have more than 8 bits decide whether little of the range is used: a warning at the end of a
    long scan would come too late. Values outside of the range are reported with the first pictures that have some.

    Args:
        advises: Whether the warning proposes a range; False where the caller has no such setting.
    """

    def __init__(self, advises: bool = True) -> None:
        self._advises = advises
        self._has_judged = self._has_clipped = self._has_cut = False

    def see(self, pictures: Sequence[Picture]) -> None:
        """Warn about these pictures, as `Preprocessing.picture` has made them, where there is something to say."""
        seen = [own.observed for own in pictures if isinstance(own, DeepPicture) and own.observed is not None]
        outside = [own for own in seen if own.share_outside]
        found: list[RangeWarning | None] = []
        if seen and not self._has_judged:
            self._has_judged = True
            found.append(_too_small(seen))
        if outside and not self._has_clipped:
            self._has_clipped = True
            found.append(_outside(outside))
        n_cut = sum(isinstance(own, Image.Image) and CUT in own.info for own in pictures)
        if n_cut and not self._has_cut:
            self._has_cut = True
            found.append(_cut(n_cut))
        for own in filter(None, found):
            tell(own if self._advises else RangeWarning(own.fact))


def _too_small(seen: list[Observed]) -> RangeWarning | None:
    low, high = seen[0].limits
    extremes = min(own.lowest for own in seen), max(own.highest for own in seen)
    usual = min(own.usual[0] for own in seen), max(own.usual[1] for own in seen)
    # the part of the usual values that lies inside the range, as a share of the range
    used = (min(usual[1], high) - max(usual[0], low)) / (high - low)
    if usual[0] == usual[1] or used > SMALL_PART:
        return None
    # A single hot pixel must not lead to a proposal of the range that is in use.
    is_whole = extremes[1] - extremes[0] <= SMALL_PART * (high - low)
    return RangeWarning(
        f"nearly all values of {_pictures(seen)} lie in {usual[0]:g} to {usual[1]:g}, which is {_percent(used)} of the "
        f"range {low:g} to {high:g} taken for black to white, so the network sees them nearly flat",
        _proposal(*(extremes if is_whole else usual)),
    )


def _cut(n_pictures: int) -> RangeWarning:
    own = "1 picture has" if n_pictures == 1 else f"{n_pictures} pictures have"
    return RangeWarning(
        f"{own} 16 bits a channel in colour, of which Pillow reads 8; to keep them all, save arrays (h, w, 3) as .npy"
    )


def _outside(seen: list[Observed]) -> RangeWarning:
    low, high = seen[0].limits
    lowest, highest = min(own.lowest for own in seen), max(own.highest for own in seen)
    share = sum(own.share_outside for own in seen) / len(seen)
    return RangeWarning(
        f"values outside of the range {low:g} to {high:g} in {_pictures(seen)} ({lowest:g} to {highest:g}): "
        f"{_percent(share)} of the values were clipped",
        _proposal(lowest, highest),
    )


def _pictures(seen: list[Observed]) -> str:
    return "1 picture" if len(seen) == 1 else f"{len(seen)} pictures"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "less than 0.1%"


def _proposal(low: float, high: float) -> tuple[float, float]:
    """Return a round range that holds both: 0 and a full number of bits for whole numbers from 0."""
    if low >= 0 and high == int(high) and high > 1:
        # all ones in binary: 4095 for a largest value of 12 bits
        return 0.0, float(2 ** int(high).bit_length() - 1)
    # outwards to three digits or so of the width
    step = 10.0 ** (floor(log10(max(high - low, 1e-300))) - 2)
    return floor(low / step) * step, ceil(high / step) * step
