"""The zoos: names, and that nothing is downloaded unless asked for."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from backlight.errors import BadInputError, WeightsError
from backlight.models import load_model, load_weights


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fail every attempt to open a connection, and hide earlier downloads."""

    def refuse(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "spec",
    [
        "torchvision:lraspp_mobilenet_v3_large",
        "torchvision:ssdlite320_mobilenet_v3_large",
        "torchvision:squeezenet1_1",
        "timm:lcnet_050",
        "timm:lcnet_050.ra2_in1k",
    ],
)
def test_nothing_is_downloaded(spec: str) -> None:
    assert load_model(spec).is_random


def test_no_builder_with_a_backbone_is_left_to_download_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def get_model(name: str, **options: object) -> torch.nn.Module:
        asked[name] = options.get("weights_backbone", "its default")
        return torch.nn.Identity()

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    names = [n for n in torchvision.models.list_models() if "resnet50" in n or "ssd" in n or "vgg16" in n]
    for name in names:
        load_model(f"torchvision:{name}")
    assert asked["fcn_resnet50"] is None and asked["ssd300_vgg16"] is None
    assert asked["fasterrcnn_resnet50_fpn"] is None and asked["deeplabv3_resnet50"] is None
    assert asked["resnet50"] == "its default"  # a classifier has no such option


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "timm:hf-hub:timm/resnet18.a1_in1k",
            "is not part of timm, and Backlight downloads nothing from a hub",
        ),
        ("timm:hf_hub:someone/model", "Backlight downloads nothing from a hub"),
        ("timm:local-dir:/tmp/model", "is not part of timm"),
        ("timm:lcnet_050.best", "timm's lcnet_050 has no weights named 'best'; it has ra2_in1k"),
        ("timm:lcnet_51", "timm has no model 'lcnet_51'; did you mean lcnet_"),
        ("torchvision:resnet19", "torchvision has no model 'resnet19'; did you mean resnet1"),
    ],
)
def test_names_that_a_zoo_does_not_have(spec: str, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as raised:
        load_model(spec)
    assert "\n" not in str(raised.value)


def test_a_download_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host\nat all")

    monkeypatch.setattr(torchvision.models, "get_model", fail)
    monkeypatch.setattr(timm, "create_model", fail)
    for spec in ("torchvision:squeezenet1_1", "timm:lcnet_050"):
        with pytest.raises(
            WeightsError, match=r"cannot be downloaded \(no route to host\); give them as a file"
        ) as raised:
            load_model(spec, "DEFAULT")
        assert "\n" not in str(raised.value)
        assert raised.value.for_command_line.endswith("; give them with --weights FILE")


def test_a_head_of_other_classes_is_made_to_fit(tmp_path: Path) -> None:
    state = torchvision.models.squeezenet1_1(num_classes=7).state_dict()
    wrapped = {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 2}
    wrapped["state_dict"]["loss.weight"] = torch.ones(3)  # the last tensor is not the head's
    torch.save(wrapped, tmp_path / "w.ckpt")
    loaded = load_model("torchvision:squeezenet1_1", str(tmp_path / "w.ckpt"))
    assert loaded.model.state_dict()["classifier.1.weight"].shape[0] == 7
    (note,) = loaded.notes
    assert "prefix 'model.'" in note and "left out ('loss.')" in note


def test_a_larger_network_of_the_family_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = (
            torchvision.models.resnet34().state_dict()
        )  # all of resnet18's names and shapes are among them
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(
        WeightsError, match="are not part of the model: the file belongs to a larger model of"
    ):
        load_model("torchvision:resnet18", str(tmp_path / "w.pt"))


def test_the_first_files_of_densenet_fit(tmp_path: Path) -> None:
    net = torchvision.models.DenseNet(2, (1, 1), 4, num_classes=2)
    state = {k: v + 1 for k, v in net.state_dict().items()}
    old = {k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for k, v in state.items()}
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "w.pt")
    load_weights(net, str(tmp_path / "w.pt"), "densenet")
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items() if "num_batches" not in k)


def test_a_segmentation_network_has_the_mean_and_deviation_of_its_weights() -> None:
    preprocessing = load_model("torchvision:lraspp_mobilenet_v3_large").preprocessing
    assert preprocessing is not None
    assert (preprocessing.mean, preprocessing.crop) == ((0.485, 0.456, 0.406), (224, 224))
    assert (
        load_model("torchvision:ssdlite320_mobilenet_v3_large").preprocessing is None
    )  # it normalises itself


def test_a_crop_that_is_not_supported_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    net = torch.nn.Conv2d(3, 1, 1)
    net.pretrained_cfg = {
        "input_size": (3, 96, 128),
        "crop_mode": "border",
        "crop_pct": 1.0,
        "mean": (0.5,) * 3,
    }
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: net)
    loaded = load_model("timm:lcnet_050")
    assert loaded.preprocessing is not None
    assert (loaded.preprocessing.crop, loaded.preprocessing.mean) == ((96, 128), (0.5,) * 3)
    assert loaded.notes == (
        "timm crops the pictures of lcnet_050 in a way that is not supported (border, 96 x 128); "
        "Backlight takes their centre instead",
    )


def test_an_input_scale_that_a_file_does_not_contain_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = torch.nn.Conv2d(3, 1, 1)
    net.transform_input = False  # as in GoogLeNet, which is slow to make
    torch.save(net.state_dict(), tmp_path / "w.pt")
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: net)
    (note,) = load_model("torchvision:googlenet", str(tmp_path / "w.pt")).notes
    assert "torchvision's own weights for it rescale them first" in note
