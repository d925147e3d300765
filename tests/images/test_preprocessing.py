import json
import math

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images import DeepPicture, Preprocessing
from images.pictures import PICTURES, TWELVE, WHOLE, ranged, same_bits

PLAIN = Preprocessing(None, (6, 4), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def test_a_small_picture_is_padded_with_black_the_odd_pixel_last():
    tensor = Preprocessing(None, (4, 6), (0.0,), (1.0,)).tensor(Image.new("L", (3, 1), 255))
    expected = torch.zeros(1, 4, 6)
    expected[0, 1, 1:4] = 1
    same_bits(tensor, expected)


def test_half_of_an_odd_margin_is_rounded_to_even():
    ramp = Image.fromarray(np.arange(7, dtype=np.uint8).reshape(1, 7))
    first = {w: Preprocessing(None, (1, w), (0.0,), (1.0,)).picture(ramp).getpixel((0, 0)) for w in (6, 4, 2)}
    assert first == {6: 0, 4: 2, 2: 2}  # margins 0.5, 1.5 and 2.5


def test_picture_is_what_the_tensor_shows():
    for picture in PICTURES[:2]:
        seen = PLAIN.picture(picture)
        assert (seen.mode, seen.size) == ("RGB", (4, 6))
        values = torch.tensor(np.asarray(seen).transpose(2, 0, 1) / 255)
        expected = (values - torch.tensor(PLAIN.mean).view(3, 1, 1)) / torch.tensor(PLAIN.std).view(3, 1, 1)
        torch.testing.assert_close(PLAIN.tensor(picture), expected.float())


def test_resize_of_a_pair_is_height_then_width():
    assert Preprocessing((10, 20), (10, 20), (0.0,), (1.0,)).picture(Image.new("L", (3, 3), 255)).size == (
        20,
        10,
    )


def test_interpolation_makes_a_difference():
    nearest = Preprocessing(20, (20, 20), PLAIN.mean, PLAIN.std, "nearest").tensor(PICTURES[0])
    assert not torch.equal(nearest, Preprocessing(20, (20, 20), PLAIN.mean, PLAIN.std).tensor(PICTURES[0]))


def test_batch_stacks_paths_bytes_and_images(tmp_path):
    path = tmp_path / "a.png"
    PICTURES[0].save(path)
    batch = PLAIN.batch([path, str(path), path.read_bytes(), PICTURES[0]])
    assert batch.shape == (4, 3, 6, 4)
    for one in batch:
        same_bits(one, PLAIN.tensor(PICTURES[0]))
    assert PLAIN.batch([]).shape == (0, 3, 6, 4)


def test_grey_network():
    grey = Preprocessing.default(1, 8)
    assert grey.tensor(PICTURES[0]).shape == (1, 8, 8)
    assert grey.picture(PICTURES[0]).mode == "L"


def test_errors_of_images_come_through(tmp_path):
    with pytest.raises(ImageError, match=r"a\.jpg': no such file"):
        PLAIN.tensor(tmp_path / "a.jpg")
    with pytest.raises(
        ImageError, match="too narrow: 1 x 9000, resized to a short side of 224, has 451584000"
    ):
        Preprocessing(224, (224, 224), (0.0,), (1.0,)).tensor(Image.new("L", (9000, 1)))


def test_normalise_takes_only_pictures_of_its_own():
    with pytest.raises(BadInputError, match=r"a picture of \(h, w, mode\) \(40, 61, 'RGB'\) is not the"):
        PLAIN.normalise([PICTURES[0]])
    with pytest.raises(BadInputError, match=r"\(6, 4, 'L'\) is not the \(6, 4, 'RGB'\)"):
        PLAIN.normalise([Image.new("L", (4, 6))])


def test_default_cuts_224_from_256():
    assert Preprocessing.default(3, 224) == Preprocessing(256, (224, 224), (0.0,) * 3, (1.0,) * 3)
    assert Preprocessing.default(1, (32, 64)) == Preprocessing(73, (32, 64), (0.0,), (1.0,))
    tensor = Preprocessing.default(3, (32, 64)).tensor(Image.new("RGB", (10, 10), "white"))
    assert tensor.min() == 1, "a square picture left a black border"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": 0}, "resize must be at least 1 pixel"),
        ({"resize": (0, 5)}, r"resize must be \(h, w\) of at least 1 x 1 pixel, not \(0, 5\)"),
        ({"crop": (5, -1)}, r"crop must be \(h, w\)"),
        ({"mean": (0.5,)}, r"1 \(grey\) or 3 \(RGB\): got 1 in mean, 3 in std"),
        ({"mean": (0.5,) * 2, "std": (1.0,) * 2}, "got 2 in mean, 2 in std"),
        ({"mean": (0.5, math.nan, 0.5)}, "mean must be finite"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be finite and above 0"),
        ({"std": (1.0, math.inf, 1.0)}, "std must be finite and above 0"),
        ({"interpolation": "cubic"}, "unknown interpolation 'cubic'; known are nearest"),
    ],
)
def test_values_that_cannot_be(change, message):
    values = {"resize": 9, "crop": (8, 8), "mean": (0.5,) * 3, "std": (1.0,) * 3, **change}
    with pytest.raises(BadInputError, match=message):
        Preprocessing(**values)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": 2.5}, r"resize must be \(h, w\) of at least 1 x 1 pixel, not 2\.5"),
        ({"crop": [5]}, r"crop must be \(h, w\) of at least 1 x 1 pixel, not \(5,\)"),
        ({"crop": 224}, r"crop must be \(h, w\)"),
        ({"crop": "big"}, r"crop must be \(h, w\)"),
        ({"mean": ["a", "b", "c"]}, "not the values of a preprocessing"),
        ({"std": 1.0}, "not the values of a preprocessing"),
    ],
)
def test_values_of_the_wrong_kind_in_a_dict(change, message):
    with pytest.raises(BadInputError, match=message):
        Preprocessing.from_dict({**PLAIN.to_dict(), **change})


side = st.integers(1, 500)
number = st.floats(-9, 9)


@settings(max_examples=60, deadline=None)
@given(
    st.none() | side | st.tuples(side, side),
    st.tuples(side, side),
    st.sampled_from([1, 3]).flatmap(
        lambda c: st.tuples(*[st.tuples(*[number] * c), st.tuples(*[st.floats(0.01, 9)] * c)])
    ),
    st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
def test_dict_round_trip_through_json(resize, crop, mean_std, interpolation):
    preprocessing = Preprocessing(resize, crop, *mean_std, interpolation)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": [8, 8]}, "missing or unknown: 'mean', 'resize', 'std'"),
        ({**PLAIN.to_dict(), "size": 3}, "missing or unknown: 'size'"),
    ],
)
def test_from_dict_refuses_what_to_dict_did_not_write(values, message):
    with pytest.raises(BadInputError, match=message):
        Preprocessing.from_dict(values)


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


def test_pictures_not_made_for_the_network_are_refused():
    with pytest.raises(BadInputError, match="as stored"):
        WHOLE.normalise([DeepPicture(TWELVE, (0, 65535))])
    with pytest.raises(ImageError, match="NaN"):
        ranged(0, 1).tensor(np.full((20, 30), np.nan))


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        (256, 112, (128, (112, 112))),
        (256, (112, 448), (128, (112, 448))),
        ((256, 320), (112, 112), ((128, 160), (112, 112))),
        (None, 300, (None, (300, 300))),
        (3, 1, (1, (1, 1))),
    ],
)
def test_with_another_size_the_margin_stays_in_proportion(resize, size, expected):
    made = Preprocessing(resize, (224, 224), (0.4,), (0.5,), "bicubic", (0, 9)).with_size(size)
    assert made == Preprocessing(*expected, (0.4,), (0.5,), "bicubic", (0, 9))


def test_imagenet_is_what_torchvisions_classifiers_take():
    assert Preprocessing.imagenet() == Preprocessing.from_torchvision(
        torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    )
    assert Preprocessing.imagenet((160, 320)).crop == (160, 320)
    with pytest.raises(BadInputError, match=r"size must be \(h, w\) of at least 1 x 1 pixel, not \(0, 0\)"):
        Preprocessing.imagenet(0)
