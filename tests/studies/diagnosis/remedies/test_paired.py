"""Paired intervals cover what they should, and the exact test counts signs."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy.stats import binom

from backlight.studies.diagnosis.remedies.paired import mcnemar_p, paired_change, share


def _looks(gained: int, lost: int, right: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.repeat([False, True, True, False], [gained, lost, right, wrong])
    after = np.repeat([True, False, True, False], [gained, lost, right, wrong])
    return before, after


def test_the_change_is_the_difference_of_the_shares_and_has_two_sides() -> None:
    before, after = _looks(3, 9, 60, 28)
    found, back = paired_change(before, after), paired_change(after, before)
    assert found.mean == pytest.approx(after.mean() - before.mean())
    assert found.low < found.mean < found.high
    assert (back.low, back.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


@pytest.mark.parametrize("n", [5, 100])
def test_where_nothing_changes_the_interval_has_the_width_of_the_score_test(n: int) -> None:
    found, z = paired_change(*_looks(0, 0, n, 0)), 1.959964
    # n d^2 / (|d| (1 - |d|)) = z^2
    assert (found.low, found.high) == (pytest.approx(-(z**2) / (n + z**2)), pytest.approx(z**2 / (n + z**2)))


def test_where_everything_changes_an_end_is_the_end_of_the_scale() -> None:
    better, worse = paired_change(*_looks(4, 0, 0, 0)), paired_change(*_looks(0, 4, 0, 0))
    assert (better.mean, better.high) == (1.0, 1.0)
    assert (worse.mean, worse.low) == (-1.0, -1.0)
    assert 0 < better.low < 1
    assert better.low == pytest.approx(-worse.high)


@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.0), (0.05, 0.05), (0.0, 0.1), (0.05, 0.2)])
def test_ninety_five_of_a_hundred_intervals_hold_the_change(gain: float, loss: float) -> None:
    n, held = 40, 0.0
    # every table that n images can give, with its probability
    for gained in range(n + 1):
        for lost in range(n - gained + 1):
            chance = binom.pmf(gained, n, gain) * binom.pmf(lost, n - gained, loss / (1 - gain))
            if chance > 1e-9:
                found = paired_change(*_looks(gained, lost, n - gained - lost, 0))
                held += chance * (found.low <= gain - loss <= found.high)
    assert held >= 0.94


def test_of_no_images_nothing_is_known() -> None:
    none = np.zeros(0, bool)
    assert paired_change(none, none).mean is share(none).mean is None
    assert mcnemar_p(none, none) == 1


@pytest.mark.parametrize(("gained", "lost"), [(0, 5), (5, 0), (2, 7), (4, 4), (1, 0)])
def test_the_p_value_counts_signs(gained: int, lost: int) -> None:
    n = gained + lost
    tail = sum(comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    assert mcnemar_p(*_looks(gained, lost, 10, 10)) == pytest.approx(min(1, 2 * tail))


def test_a_share_has_wilsons_interval() -> None:
    found = share(np.repeat([True, False], [45, 5]))
    p, n, z = 0.9, 50, 1.959964
    middle, reach = (p + z**2 / (2 * n)), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert found.mean == p
    assert found.low == pytest.approx((middle - reach) / (1 + z**2 / n))
    assert found.high == pytest.approx((middle + reach) / (1 + z**2 / n))
