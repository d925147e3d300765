"""The preprocessing that torchvision and timm publish: the same tensors, bit for bit."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms._presets import ImageClassification, SemanticSegmentation

from backlight.errors import BadInputError
from backlight.images import Preprocessing
from images.pictures import PICTURES, same_bits


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


def test_from_timm_takes_a_model_its_configuration_and_the_resolved_one():
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet10t")
    expected = Preprocessing.from_timm(model.pretrained_cfg)
    assert Preprocessing.from_timm(model) == expected
    assert Preprocessing.from_timm(timm.data.resolve_model_data_config(model)) == expected
    with pytest.raises(BadInputError, match="Conv2d is neither a model of timm nor its pretrained_cfg"):
        Preprocessing.from_timm(torch.nn.Conv2d(3, 3, 1))


_KINDS = [
    "ViT",
    "DeiT",
    "ConvNext",
    "Bit",
    "CLIP",
    "Levit",
    "MobileNetV1",
    "MobileNetV2",
    "Siglip",
]


@pytest.mark.parametrize("kind", _KINDS)
def test_equals_a_processor_of_transformers(kind):
    transformers = pytest.importorskip("transformers")
    exact = getattr(transformers, f"{kind}ImageProcessorPil", None)
    if exact is None:
        pytest.skip(f"this transformers has no {kind}ImageProcessorPil")
    processor = exact()
    ours = Preprocessing.from_hf(processor)
    noise = np.random.default_rng(0)
    for size in ((300, 420), (448, 224)):  # odd margins they round otherwise
        picture = Image.fromarray(noise.integers(0, 256, (*size, 3), np.uint8))
        theirs = processor(picture, return_tensors="pt")["pixel_values"][0]
        assert torch.allclose(ours.tensor(picture), theirs, atol=1e-5)
    by_torchvision = getattr(transformers, f"{kind}ImageProcessor")()
    assert Preprocessing.from_hf(by_torchvision) == ours  # which differs by rounding


class ConvNextLike:
    """A processor as transformers makes them: attributes, and a call; this one does what they say, by Pillow."""

    do_resize = do_rescale = do_normalize = True
    size, crop_pct, resample, rescale_factor = {"shortest_edge": 64}, 0.8, 3, 1 / 255
    image_mean, image_std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    does = Preprocessing(80, (64, 64), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), "bicubic")

    def __init__(self, **changes):
        self.__dict__.update(changes)

    def __call__(self, images, return_tensors):
        return {"pixel_values": self.does.batch([images]).numpy()}


def test_from_hf_reads_attributes_and_compares():
    assert Preprocessing.from_hf(ConvNextLike()) == ConvNextLike.does
    plain = ConvNextLike(
        do_normalize=False, does=Preprocessing(80, (64, 64), (0.0,) * 3, (1.0,) * 3, "bicubic")
    )
    assert Preprocessing.from_hf(plain).mean == (0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rescale_factor": 1 / 127.5}, r"ConvNextLike scales values by 0\.007843 instead of 1/255, which is not"),
        ({"do_rescale": False}, r"ConvNextLike scales values by 1 instead of 1/255"),
        ({"size": {"shortest_edge": 64, "longest_edge": 90}}, r"resizes to \{'shortest_edge': 64, 'longest"),
        ({"do_resize": False}, "gives pictures of several sizes, which is not supported; describe the steps"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 3}, "crop_pct": 0}, "crops to {'shortest_edge': 3}"),
        ({"resample": 2}, r"does more to a picture than .* differs by \d+ of 255 levels; give it as a function"),
        ({"image_std": [0.1] * 3}, r"does more to a picture than .* differs by \d+ of 255 levels"),
        ({"crop_pct": 0.7}, r"does more to a picture than .* differs by \d+ of 255 levels"),
        (
            {"does": Preprocessing(80, (32, 64), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))},
            r"differs by 255 of 255 levels",
        ),
    ],
)  # fmt: skip
def test_what_a_preprocessing_cannot_do_is_refused(changes, message):
    with pytest.raises(BadInputError, match=message):
        Preprocessing.from_hf(ConvNextLike(**changes))


@pytest.mark.parametrize(
    ("read", "instead"),
    [
        (Preprocessing.from_hf, r"AutoImageProcessor\.from_pretrained"),
        (Preprocessing.from_timm, r"timm\.create_model"),
        (Preprocessing.from_torchvision, r"ResNet18_Weights\.DEFAULT"),
    ],
    ids=["transformers", "timm", "torchvision"],
)
def test_a_name_is_refused_with_what_to_give_instead(read, instead):
    with pytest.raises(
        BadInputError, match=rf"^a preprocessing cannot be read from a name, got 'some'; .*{instead}"
    ):
        read("some")
