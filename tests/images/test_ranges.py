"""Says when pictures use little of their range, leave it, or lose bits: once, and with what to do."""

import warnings

import numpy as np
import pytest

from backlight.errors import RangeWarning
from backlight.images import Preprocessing, RangeWatch, SequenceSource, load_batches
from images.pictures import GREY, TWELVE, WHOLE, ranged, told

RNG = np.random.default_rng(0)


def test_little_of_the_range_is_told_with_what_to_do():
    _, texts = told(lambda: WHOLE.batch([TWELVE, TWELVE]))
    assert len(texts) == 1
    assert "nearly all values of 2 pictures lie in" in texts[0]
    assert texts[0].endswith("pass Preprocessing(..., range=(0, 4095))")
    assert "the range 0 to 65535" in texts[0]


def test_a_hot_pixel_does_not_hide_it():
    hot = TWELVE.copy()
    hot[0, 0] = 65535
    _, texts = told(lambda: WHOLE.tensor(hot))
    assert len(texts) == 1
    assert texts[0].endswith("range=(0, 4095))")


@pytest.mark.parametrize(
    ("values", "proposal"),
    [
        (RNG.integers(0, 1024, (20, 30)).astype(np.uint16), (0, 1023)),
        (RNG.uniform(0.001, 0.0199, (20, 30)), (0.001, 0.02)),
    ],
)
def test_the_proposal_is_round(values, proposal):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WHOLE.tensor(values)
    assert caught[0].message.proposal == pytest.approx(proposal, rel=0.01)
    low, high = caught[0].message.proposal
    assert low <= values.min()
    assert high >= values.max()


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(0, 65536, (20, 30)).astype(np.uint16),
        np.full((20, 30), 7, np.uint16),
        RNG.random((20, 30)),
        GREY // 20,
    ],
    ids=["16 bits", "flat", "floats", "8 bits"],
)
def test_nothing_is_told_where_nothing_is_wrong(values):
    assert told(lambda: WHOLE.tensor(values))[1] == []


def test_what_lies_outside_is_clipped_and_told():
    values = np.full((20, 30), 3000, np.int16)
    values[0, :3] = -5, 5011, 0
    tensor, texts = told(lambda: ranged(0, 4095).tensor(values))
    assert tensor[0, 0, :3].tolist() == [0, 1, 0]
    assert texts == [
        "values outside of the range 0 to 4095 in 1 picture (-5 to 5011): 0.3% of the values were clipped; "
        "pass Preprocessing(..., range=(-10, 5020))"
    ]


def test_the_command_line_names_the_flag():
    warning = RangeWarning("they are dark", (0.0, 4095.0))
    assert str(warning) == "they are dark; pass Preprocessing(..., range=(0, 4095))"
    assert warning.for_command_line == "they are dark; give --range 0,4095"
    assert RangeWarning("they are dark").for_command_line == "they are dark"


def test_a_set_is_told_of_once_and_early():
    source = SequenceSource([TWELVE] * 6)
    batches = load_batches(source, WHOLE, range(6), 2)
    _, first = told(lambda: next(batches))
    _, rest = told(lambda: list(batches))
    assert len(first) == 1
    assert rest == []


def test_a_set_without_a_range_skips_what_cannot_be_placed_and_says_why():
    source = SequenceSource([np.array([[-5, 7]], np.int16), GREY])
    (batch,) = load_batches(source, WHOLE, range(2), 2)
    assert batch.ids == (1,)
    assert "integers from -5 to 7: without a range" in batch.skipped[0].reason


def test_16_bit_colour_of_which_8_are_read_is_told():
    colour = b"P6 2 2 65535\n" + RNG.integers(0, 65536, 12, dtype=np.uint16).tobytes()
    own = Preprocessing(4, (2, 2), (0.0,) * 3, (1.0,) * 3)
    assert "16 bits a channel in colour" in told(lambda: own.tensor(colour))[1][0]
    assert told(lambda: own.tensor(b"P6 2 2 255\n" + bytes(12)))[1] == []


def test_where_there_is_no_range_to_give_none_is_proposed():
    picture = WHOLE.picture(TWELVE)
    _, texts = told(lambda: RangeWatch(advises=False).see([picture]))
    assert "Preprocessing" not in texts[0]
