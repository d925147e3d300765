import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.errors import BadInputError, ImageError, RangeWarning
from backlight.images import DeepPicture, Preprocessing, RangeWatch, SequenceSource, load_batches

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
TWELVE = RNG.integers(0, 4096, (20, 30), dtype=np.uint16)
WHOLE = Preprocessing(None, (20, 30), (0.5,), (0.25,))


def ranged(low, high, **changes):
    values = {"resize": None, "crop": (20, 30), "mean": (0.0,), "std": (1.0,), **changes}
    return Preprocessing(**values, range=(low, high))


def told(call):
    """Return what a call gives, and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call()
    assert all(issubclass(own.category, RangeWarning) for own in caught)
    return found, [str(own.message) for own in caught]


# Precision


@pytest.mark.parametrize("kind", ["png", "tiff", "npy", "int32 tiff", "float tiff", "array"])
def test_all_grey_levels_of_12_bit_data_reach_the_tensor(kind, tmp_path):
    values = TWELVE.astype({"int32 tiff": np.int32, "float tiff": np.float32}.get(kind, np.uint16))
    image = values
    if kind != "array":
        image = tmp_path / f"a.{kind.split()[-1]}"
        np.save(image, values) if kind == "npy" else Image.fromarray(values).save(image)
    tensor = ranged(0, 4095).tensor(image)
    torch.testing.assert_close(tensor[0], torch.from_numpy(TWELVE / 4095).float())
    assert len(tensor.unique()) == len(np.unique(TWELVE))


def test_16_bit_grey_that_holds_8_bits_is_the_same_tensor_bit_for_bit():
    deep, flat = WHOLE.tensor(GREY.astype(np.uint16) * 257), WHOLE.tensor(Image.fromarray(GREY))
    assert torch.equal(deep, flat)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "box"])
@pytest.mark.parametrize("resize", [13, 40, (33, 17)])
def test_resizing_is_that_of_8_bit_pictures_but_for_their_rounding(interpolation, resize):
    smooth = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8) * 4
    own = Preprocessing(resize, (24, 26), (0.0,), (1.0,), interpolation)
    deep, flat = own.tensor(smooth.astype(np.uint16) * 257), own.tensor(smooth)
    torch.testing.assert_close(deep, flat, atol=1.01 / 255, rtol=0)
    if interpolation in ("bilinear", "bicubic"):
        assert len(deep.unique()) > len(flat.unique())


def test_deep_colour_goes_through_all_steps():
    colour = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    own = Preprocessing(25, (20, 24), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    eight = own.tensor((colour // 257).astype(np.uint8))
    assert own.tensor(colour).shape == (3, 20, 24)
    torch.testing.assert_close(own.tensor(colour), eight, atol=3 / 255 / 0.2, rtol=0)
    grey = Preprocessing(25, (20, 24), (0.5,), (0.25,)).tensor(colour)
    assert grey.shape == (1, 20, 24)


def test_grey_is_repeated_for_a_colour_network():
    own = Preprocessing(None, (20, 30), (0.0, 0.5, 0.0), (1.0, 1.0, 0.5), range=(0, 4095))
    tensor = own.tensor(TWELVE)
    assert torch.equal(tensor[0] - 0.5, tensor[1])
    assert torch.equal(tensor[0] * 2, tensor[2])


def test_8_bit_pictures_pass_as_before_without_a_range_or_with_their_own():
    image = Image.fromarray(GREY)
    assert isinstance(WHOLE.picture(image), Image.Image)
    own = ranged(0, 255, mean=(0.5,), std=(0.25,))
    assert isinstance(own.picture(image), Image.Image)
    assert torch.equal(own.tensor(image), WHOLE.tensor(image))


def test_a_range_holds_for_8_bit_pictures_too():
    tensor, texts = told(lambda: ranged(100, 200).tensor(Image.fromarray(GREY)))
    expected = ((GREY.astype(np.float64) - 100) / 100).clip(0, 1)
    torch.testing.assert_close(tensor[0], torch.from_numpy(expected).float())
    assert len(texts) == 1


def test_a_batch_of_both_kinds():
    batch = WHOLE.batch([Image.fromarray(GREY), GREY.astype(np.uint16) * 257])
    assert torch.equal(batch[0], batch[1])


def test_a_small_picture_is_padded_with_black():
    tensor = ranged(1000, 2000, crop=(4, 6)).tensor(np.full((1, 3), 2000, np.uint16))
    expected = torch.zeros(1, 4, 6)
    expected[0, 1, 1:4] = 1
    assert torch.equal(tensor, expected)


# What people see


def test_pictures_are_shown_with_the_contrast_of_the_range():
    picture = ranged(1000, 3000).picture(np.linspace(0, 4000, 600).reshape(20, 30).astype(np.int16))
    assert isinstance(picture, DeepPicture)
    shown = np.asarray(picture.convert("L"))
    assert (shown.min(), shown.max(), shown[10, 0]) == (0, 255, round((2003 - 1000) / 2000 * 255))
    assert picture.convert("RGB").mode == "RGB"


# Identity


def test_a_preprocessing_without_a_range_is_written_as_before():
    assert list(WHOLE.to_dict()) == ["resize", "crop", "mean", "std", "interpolation"]
    assert Preprocessing.from_dict(WHOLE.to_dict()).range is None


def test_a_range_is_part_of_the_identity():
    own = ranged(-1024, 3071)
    written = json.loads(json.dumps(own.to_dict()))
    assert written["range"] == [-1024.0, 3071.0]
    assert Preprocessing.from_dict(written) == own
    assert ranged(-1024.0, 3071.0).to_dict() == own.to_dict()


@pytest.mark.parametrize("bad", [(1, 1), (5, 2), (0, float("nan")), (-1e308, 1e308)])
def test_ranges_that_cannot_be(bad):
    with pytest.raises(BadInputError, match="range must"):
        ranged(*bad)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("bad", [3, [1], "12", ["0", "1"], [0, 1, 2]])
def test_ranges_of_the_wrong_kind_in_a_dict(bad):
    with pytest.raises(BadInputError, match=r"range must be two numbers \(LOW, HIGH\)"):
        Preprocessing.from_dict({**WHOLE.to_dict(), "range": bad})


# Warnings


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


def test_pictures_not_made_for_the_network_are_refused():
    with pytest.raises(BadInputError, match="as stored"):
        WHOLE.normalise([DeepPicture(TWELVE, (0, 65535))])
    with pytest.raises(ImageError, match="NaN"):
        ranged(0, 1).tensor(np.full((20, 30), np.nan))
