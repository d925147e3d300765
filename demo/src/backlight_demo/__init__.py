"""An ImageNet ResNet-34 and free photographs in one small package: the subject of Backlight's demo."""

from __future__ import annotations

from pathlib import Path

import torch

from backlight_demo.compact import read_state
from backlight_demo.preprocessing import PREPROCESSING, Preprocessing, preprocess
from backlight_demo.resnet34 import ResNet34

__version__ = "0.1.0"
__all__ = [
    "PREPROCESSING",
    "Preprocessing",
    "ResNet34",
    "labels",
    "model",
    "parts",
    "photographs",
    "preprocess",
]

_HERE = Path(__file__).parent


def model() -> ResNet34:
    """Return the trained network, in float32, on the CPU and in eval mode.

    Returns:
        A new module on each call. PyTorch's random state is not changed.

    Examples:
        >>> model()(torch.zeros(1, 3, 227, 227)).shape
        torch.Size([1, 1000])
    """
    with torch.device("meta"):
        network = ResNet34()
    network.load_state_dict(read_state(_HERE / "data" / "resnet34-imagenet.npz"), assign=True)
    return network.eval()


def photographs() -> Path:
    """Return the folder of the photographs: JPEG files, and ATTRIBUTION.md.

    Examples:
        >>> (photographs() / "cheetah.jpg").exists()
        True
    """
    return _HERE / "photographs"


def parts() -> Path:
    """Return the file with the parts marked in some photographs: eyes and noses of five frontal faces.

    It is in the format that `backlight correspond` reads; left and right are as the viewer sees them.

    Examples:
        >>> import json
        >>> list(json.loads(parts().read_text())["images"]["photographs/calf.jpg"])
        ['left eye', 'right eye', 'nose']
    """
    return _HERE / "parts.json"


def labels() -> list[str]:
    """Return the names of the 1000 classes, in the order of the network's scores.

    Examples:
        >>> labels()[1]
        'goldfish'
    """
    return (_HERE / "data" / "resnet34-imagenet-labels.txt").read_text(encoding="utf-8").splitlines()
