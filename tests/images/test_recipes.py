"""The preprocessing that torchvision and timm publish: the same tensors, bit for bit."""

import pytest
import torchvision
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
