"""Numbers of which some are missing."""

import warnings

import numpy as np
import pytest
import torch

from backlight.studies.numbers import as_array, mean_and_spread, nanmean, plain

VALUES = np.random.default_rng(0).normal(size=(4, 5, 3))
VALUES[VALUES > 1] = np.nan


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_means_are_numpys_along_any_axis(axis):
    np.testing.assert_allclose(nanmean(VALUES, axis), np.nanmean(VALUES, axis))


def test_spreads_are_numpys():
    mean, spread = mean_and_spread(VALUES)
    np.testing.assert_allclose(mean, np.nanmean(VALUES, -1))
    np.testing.assert_allclose(spread, np.nanstd(VALUES, -1))


def test_nothing_left_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(nanmean(np.full((3, 2), np.nan))).all()
        assert np.isnan(mean_and_spread(np.full((2, 3), np.nan))).all()
        assert np.isnan(nanmean(np.zeros((0, 2)))).all()


def test_json_has_no_nan():
    assert plain(0.25) == 0.25
    assert plain(float("nan")) is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(torch.float64, np.float64), (torch.float32, np.float32), (torch.bfloat16, np.float32)],
)
def test_arrays_keep_the_precision_that_numpy_has(given, wanted):
    values = torch.tensor([0.5, -1.25], dtype=given)
    found = as_array(values)
    assert found.dtype == wanted
    assert found.tolist() == [0.5, -1.25]
