import json
import math

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms._presets import ImageClassification, SemanticSegmentation

from backlight.errors import BadInputError, ImageError
from backlight.images import Preprocessing

RNG = np.random.default_rng(0)
SIZES = [(40, 61), (300, 251), (13, 90)]
PICTURES = [Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in SIZES]
PLAIN = Preprocessing(None, (6, 4), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def same_bits(one, other):
    assert one.dtype == other.dtype == torch.float32
    assert one.shape == other.shape
    assert torch.equal(one, other), f"largest difference {(one - other).abs().max()}"


def zoo_presets():
    found = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            preset = weights.transforms()
            found.setdefault(repr(preset), weights)
    return found.values()


@pytest.mark.parametrize("weights", zoo_presets(), ids=str)
def test_equals_torchvisions_own_transform_bit_for_bit(weights):
    ours, theirs = Preprocessing.from_torchvision(weights), weights.transforms()
    for picture in PICTURES[:1] if ours.crop[0] > 300 else PICTURES:
        same_bits(ours.tensor(picture), theirs(picture))


@pytest.mark.filterwarnings("ignore:Anti-alias option")
def test_from_torchvision_takes_weights_their_transforms_and_the_preset():
    weights = torchvision.models.SqueezeNet1_0_Weights.DEFAULT
    expected = Preprocessing(256, (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert Preprocessing.from_torchvision(weights) == expected
    assert Preprocessing.from_torchvision(weights.transforms) == expected
    assert Preprocessing.from_torchvision(weights.transforms()) == expected
    preset = ImageClassification(crop_size=5, antialias=False)
    same_bits(Preprocessing.from_torchvision(preset).tensor(PICTURES[1]), preset(PICTURES[1]))


def test_from_torchvision_refuses_other_transforms():
    for other in (SemanticSegmentation(resize_size=520), torchvision.transforms.ToTensor(), None):
        with pytest.raises(BadInputError, match="is not torchvision's ImageClassification preset"):
            Preprocessing.from_torchvision(other)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18.tv_in1k",
        "resnet50.a1_in1k",
        "inception_v3.tv_in1k",
        "convnext_tiny.in12k_ft_in1k_384",
        "mobilenetv3_small_100.lamb_in1k",
        "vit_small_patch14_dinov2.lvd142m",
    ],
)
def test_equals_timms_own_transform_bit_for_bit(name):
    timm = pytest.importorskip("timm")
    cfg = timm.get_pretrained_cfg(name).to_dict()
    theirs = timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=cfg))
    ours = Preprocessing.from_timm(cfg)
    for picture in PICTURES[:1] if ours.crop[0] > 300 else PICTURES:
        same_bits(ours.tensor(picture), theirs(picture))


@pytest.mark.parametrize(
    "cfg",
    [
        {"mean": None},
        {"input_size": (3, 32, 32), "crop_pct": 1.0, "interpolation": "bilinear"},
        {"input_size": (3, 48, 32), "crop_pct": 0.9, "crop_mode": "squash"},
        {"input_size": (3, 33, 33), "crop_pct": 0.875, "interpolation": "lanczos", "mean": (0.5, 0.5, 0.5)},
        {"input_size": (3, 50, 50), "crop_pct": 0.965, "std": (1.0, 1.0, 1.0)},
    ],
)
def test_equals_timms_own_transform_for_made_up_configurations(cfg):
    timm = pytest.importorskip("timm")
    theirs = timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=cfg))
    for picture in PICTURES:
        same_bits(Preprocessing.from_timm(cfg).tensor(picture), theirs(picture))


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"crop_mode": "border"}, "crop mode 'border' at 224 x 224 is not supported"),
        ({"input_size": (3, 32, 48)}, "crop mode 'center' at 32 x 48 is not supported"),
        ({"input_size": (1, 32, 32)}, "asks for 1 channels, mean has 3 and std 3"),
        ({"interpolation": "random"}, "unknown interpolation 'random'"),
    ],
)
def test_from_timm_refuses_what_it_cannot_repeat(cfg, message):
    with pytest.raises(BadInputError, match=message):
        Preprocessing.from_timm(cfg)


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
