"""Intervals and tests of a few samples keep their promise: simulated, and beside SciPy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from backlight.studies.intervals import false_discoveries, holm, mean_interval, sign_flip_p


@pytest.mark.parametrize("n", [3, 8, 16])
def test_an_interval_holds_the_mean_in_95_of_100_cases(n: int) -> None:
    samples = np.random.default_rng(n).normal(0.3, 1.0, (2000, n))
    found = [mean_interval(own) for own in samples]
    missed = np.mean([not own.low <= 0.3 <= own.high for own in found])
    assert abs(missed - 0.05) <= 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_an_interval_is_students() -> None:
    samples = np.array([0.2, 0.5, np.nan, 0.9, 0.4])
    low, high = stats.ttest_1samp(samples, 0, nan_policy="omit").confidence_interval()
    found = mean_interval(samples)
    np.testing.assert_allclose((found.mean, found.low, found.high, found.n), (0.5, low, high, 4))
    one = mean_interval(np.array([0.2]))
    assert (one.mean, one.low, one.high, one.n) == (0.2, None, None, 1)
    assert mean_interval(np.array([np.nan])).mean is None


@pytest.mark.parametrize("n", [2, 3, 7, 9, 12])
def test_a_sign_flip_test_is_exact(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.4, 1, n)
    other = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=2**n, vectorized=False
    )
    assert sign_flip_p(differences) == pytest.approx(other.pvalue)


def test_a_sign_flip_test_of_many_is_near_the_t_test_and_comes_again_with_its_seed() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, 60)
    found = sign_flip_p(differences, 1)
    assert found == sign_flip_p(differences, 1) != sign_flip_p(differences, 2)
    assert found == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


def test_the_smallest_p_is_told_by_the_number_of_samples() -> None:
    assert sign_flip_p(np.array([0.5])) == 1
    assert sign_flip_p(np.full(9, 0.1)) == 2 / 2**9
    assert sign_flip_p(np.array([np.nan])) is None
    assert sign_flip_p(np.zeros(4)) == 1
    assert 0 < sign_flip_p(np.full(40, 0.1)) < 1e-3


def test_holms_correction_by_hand() -> None:
    found = holm({"a": 0.03, "b": 0.005, "c": 0.04, "d": None, "e": 0.9})
    assert found == {"a": pytest.approx(0.09), "b": 0.02, "c": pytest.approx(0.09), "d": None, "e": 0.9}
    assert list(found) == ["a", "b", "c", "d", "e"]
    assert holm({}) == {}


def test_false_discoveries_by_hand() -> None:
    found = false_discoveries(np.array([0.01, np.nan, 0.02, 0.5, 0.03]))
    np.testing.assert_allclose(found, [0.04, np.nan, 0.04, 0.5, 0.04])
    assert np.isnan(false_discoveries(np.array([np.nan]))).all()
