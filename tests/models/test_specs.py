"""Model specs: what each form names, and which of them run code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from backlight.errors import BadInputError
from backlight.models import is_code, load_model

MINE = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.fc = nn.Linear(4, 2)

def make():
    return Net()
"""


@pytest.fixture
def mine(here: Path) -> Iterator[Path]:
    """Return a folder with a model file, and go there."""
    (here / "mine.py").write_text(MINE)
    yield here
    sys.modules.pop("mine", None)


def test_a_part_of_a_model_is_a_model(mine: Path) -> None:
    loaded = load_model("mine.py:make#backbone")
    assert isinstance(loaded.model, nn.Sequential)
    assert isinstance(load_model("mine.py:make#backbone.0").model, nn.Conv2d)


BAD = [
    ("mine.py:make#fc.x", r"mine.py:make has no submodule 'fc.x'; it has "),
    ("w.pth", "'w.pth' is a weights file, not a model; name the model that it belongs to, and the file"),
    ("resnet18", r"^'resnet18' is not a model; a model is .*; did you mean torchvision:resnet18 or timm:resnet18\?$"),
    ("resnet", "'resnet' is not a model; a model is torchvision:NAME"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "said"), BAD, ids=[spec for spec, _ in BAD])
def test_what_is_not_a_model_gets_one_line(mine: Path, spec: str, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as raised:
        load_model(spec)
    assert "\n" not in str(raised.value)
    assert str(mine) not in sys.path


@pytest.mark.parametrize(
    "spec", ["demo", "torchvision:resnet18", "timm:lcnet_050.ra2_in1k", "torchvision:resnet18#layer1"]
)
def test_zoo_names_run_nobody_elses_code(spec: str) -> None:
    assert not is_code(spec)


CODE = ("mine.py:make", "json:dumps", "a.pt2", "torchvision:x/../mine.py", "timm:hf-hub:a/b")


@pytest.mark.parametrize("spec", [*CODE, "torchvision.models:resnet18", "demo.py:f", "torchvision:a\nb"])
def test_all_else_may(spec: str) -> None:
    assert is_code(spec)
