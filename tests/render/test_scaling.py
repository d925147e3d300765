import numpy as np
import pytest

from backlight.render import DEFAULT_SCALING, Scaling, scale

RNG = np.random.default_rng(0)
GREY_IS_ZERO = [m for m in Scaling if m is not Scaling.MIN_MAX]
VALUES = RNG.standard_normal((6, 5, 3))


def test_the_default_has_zero_as_grey():
    assert DEFAULT_SCALING in GREY_IS_ZERO
    assert np.array_equal(scale(VALUES), scale(VALUES, DEFAULT_SCALING.value))


@pytest.mark.parametrize("method", Scaling)
def test_every_scaling_has_a_caption(method):
    assert method.caption.startswith("by itself")
    assert ("grey is zero" in method.caption) == (method in GREY_IS_ZERO)
