"""How signed projection values become colours, by name; `brightness` does it. Importing this takes no NumPy."""

from __future__ import annotations

from enum import StrEnum

from backlight.errors import BadInputError

PERCENTILE = 99.0
"""Percentile of the magnitudes that are not zero which `Scaling.PERCENTILE` shows in full colour."""

POWER = 0.5
"""Exponent of `Scaling.ROOT`. *Differs*: Mahendran & Vedaldi's code takes 0.1: all pixels look alike."""

LOGISTIC_QUANTILE = 0.005
"""Quantile of the values that `Scaling.LOGISTIC` shows at 1 % of full brightness."""


class Scaling(StrEnum):
    """How signed values r become brightness; all but MIN_MAX show zero as middle grey.

    *Source*: LOGISTIC and ROOT are in the code of Mahendran & Vedaldi (2015), MIN_MAX in most ports of the
    deconvnet. Zeiler & Fergus (2013) say of theirs only "artificially enhanced" (Fig. 4).

    Attributes:
        PERCENTILE: Full colour from the 99th percentile of |r| upwards, zeros not counted.
        SYMMETRIC: Full colour at the largest |r|.
        MIN_MAX: Black at the smallest, white at the largest value; zero is any grey.
        LOGISTIC: 1 / (1 + exp(-log(99) r / |a|)), a the 0.5 % quantile of r.
        ROOT: The sign of r times the square root of |r|, full colour at the largest: shows faint pixels too.
    """

    PERCENTILE = "percentile"
    SYMMETRIC = "symmetric"
    MIN_MAX = "min-max"
    LOGISTIC = "logistic"
    ROOT = "root"

    @property
    def caption(self) -> str:
        """What colour means, for a legend: the end of the sentence "each projection is scaled ..."."""
        return _CAPTIONS[self]


DEFAULT_SCALING = Scaling.PERCENTILE


def parse_scaling(name: Scaling | str) -> Scaling:
    """Return the scaling of that name.

    Raises:
        BadInputError: No scaling has this name.

    Example:
        >>> parse_scaling("min-max").name
        'MIN_MAX'
    """
    try:
        return Scaling(name)
    except ValueError:
        raise BadInputError(f"unknown scaling {str(name)!r}; known are {', '.join(Scaling)}") from None


_CAPTIONS = {
    Scaling.PERCENTILE: f"by itself to the {PERCENTILE:g}th percentile of its magnitudes; grey is zero",
    Scaling.SYMMETRIC: "by itself to its largest magnitude; grey is zero",
    Scaling.MIN_MAX: "by itself from its smallest value (black) to its largest (white); zero can be any grey",
    Scaling.LOGISTIC: f"by itself by a sigmoid of its {LOGISTIC_QUANTILE:.1%} quantile; grey is zero",
    Scaling.ROOT: "by itself by the square root of its magnitudes, which lifts faint pixels; grey is zero",
}
