import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backlight.errors import BadInputError
from backlight.render import Scaling, scale, stretch

RNG = np.random.default_rng(0)
SYMMETRIC_ABOUT_ZERO = [Scaling.PERCENTILE, Scaling.SYMMETRIC, Scaling.ROOT]
GREY_IS_ZERO = [m for m in Scaling if m is not Scaling.MIN_MAX]
VALUES = RNG.standard_normal((6, 5, 3))

finite_values = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3])),
    elements=st.floats(-1e6, 1e6, width=32),
)


def row(*numbers):
    return np.array(numbers, np.float64).reshape(1, -1, 1)


def drawn(*numbers, method, reference=None):
    return scale(row(*numbers), method, reference)[0, :, 0].tolist()


@pytest.mark.parametrize("method", Scaling)
def test_nothing_but_zeros_is_plain_grey(method):
    picture = scale(np.zeros((4, 3, 3)), method)
    assert picture.dtype == np.uint8
    assert picture.shape == (4, 3, 3)
    assert (picture == 128).all()


@pytest.mark.parametrize("method", GREY_IS_ZERO)
@pytest.mark.parametrize("numbers", [(-3, 0, 1), (0, 2, 7), (-5, -1, 0), (0, 1e-30, -1e-32)])
def test_zero_is_grey_whatever_the_other_values(method, numbers):
    assert drawn(*numbers, method=method)[numbers.index(0)] == 128


@pytest.mark.parametrize("method", Scaling)
@settings(max_examples=40)
@given(values=finite_values)
def test_brightness_rises_with_the_value(method, values):
    order = np.argsort(values, axis=None)
    shades = scale(values, method)[..., : values.shape[2]].reshape(-1)[order].astype(int)
    assert (np.diff(shades) >= 0).all(), shades


@pytest.mark.parametrize("method", SYMMETRIC_ABOUT_ZERO)
@settings(max_examples=40)
@given(values=finite_values)
def test_the_opposite_values_give_the_opposite_picture(method, values):
    assert np.array_equal(256 - scale(values, method).astype(int), scale(-values, method))


@pytest.mark.parametrize("method", Scaling)
@pytest.mark.parametrize("factor", [1e-12, 1e9])
def test_the_unit_of_the_values_does_not_matter(method, factor):
    assert np.array_equal(scale(VALUES, method), scale(VALUES * factor, method))


@pytest.mark.parametrize("method", GREY_IS_ZERO)
def test_the_sign_is_kept_where_all_values_have_the_same(method):
    assert drawn(1, 2, 3, method=method)[2] > 250
    assert drawn(-1, -2, -3, method=method)[2] < 6


def test_symmetric_is_full_colour_at_the_largest_magnitude():
    assert drawn(-4, -2, 0, 1, method="symmetric") == [1, 64, 128, 160]


def test_min_max_spans_both_ends():
    assert drawn(-1, 0, 3, method="min-max") == [1, 64, 255]
    assert drawn(7, 7, method="min-max") == [128, 128]


def test_percentile_clips_above_the_99th_percentile_of_the_magnitudes():
    values = np.concatenate([np.arange(1, 101), -np.arange(1, 102)])
    limit = np.percentile(np.abs(values), 99)
    shades = np.array(drawn(*values, method="percentile"))
    assert ((shades == 255) == (values >= 126.75 / 127 * limit)).all()
    assert ((shades == 1) == (values <= -126.75 / 127 * limit)).all()
    assert 128 + np.rint(127 * 50 / limit) == shades[49]


def test_percentile_does_not_count_zeros():
    """Fails where the percentile is taken over all values: padding would brighten the rest."""
    padded = np.zeros((60, 50, 3))
    padded[10:16, 20:25] = VALUES
    assert np.array_equal(scale(padded)[10:16, 20:25], scale(VALUES))


def test_logistic_follows_the_formula_of_its_source():
    values = RNG.standard_normal((40, 40, 3))
    end = np.quantile(values, 0.005)
    expected = 1 / (1 + np.exp(math.log(99) * values / end))
    np.testing.assert_allclose(stretch(values, "logistic"), 2 * expected - 1, rtol=1e-12)


def test_logistic_takes_the_smallest_value_where_the_quantile_is_nearly_zero():
    values = np.zeros((1, 1000, 1))
    values[0, :2, 0] = -2, 1
    assert stretch(values, "logistic")[0, 0, 0] == pytest.approx(2 * 0.01 - 1)


def test_root_lifts_faint_values():
    assert stretch(row(-4, 1, 0.04), "root").ravel() == pytest.approx([-1, 0.5, 0.1])


def test_a_reference_scales_tiles_jointly():
    assert drawn(1, method="symmetric", reference=row(-2, 1)) == [192]
    assert drawn(5, method="symmetric", reference=row(-2, 1)) == [255]


def test_grey_values_are_drawn_in_grey_and_colours_in_their_order():
    grey = scale(RNG.standard_normal((3, 4, 1)))
    assert (grey == grey[..., :1]).all()
    assert scale(np.array([[[1.0, 0.0, -1.0]]])).ravel().tolist() == [255, 128, 1]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(BadInputError, match=r"1 or 3 channels, got \(2, 2, 4\)"):
        scale(np.zeros((2, 2, 4)))
    with pytest.raises(
        BadInputError, match="unknown scaling 'bright'; known are percentile, symmetric, min-max"
    ):
        scale(VALUES, "bright")
    for bad in (np.nan, np.inf):
        with pytest.raises(BadInputError, match="not finite"):
            scale(row(1, bad))
