"""Models and weights on the command line: the channels of the pictures, and what is said about the weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from backlight.cli.models import Overrides, load_network
from backlight.errors import BadInputError
from cli.running import run

MODELS = """
import torch
from torch import nn
def tail(): return [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)]
class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.conv = nn.Parameter(torch.ones(1, 6, 1, 1)), nn.Conv2d(3, 6, 3)
        self.tail = nn.Sequential(*tail())
    def forward(self, x):
        print("ran")
        return self.tail(self.conv(x) * self.scale)
def rgb():
    print("made")
    return Scaled()
def grey(): return nn.Sequential(nn.Conv2d(1, 6, 3), *tail())
def spectral(): return nn.Sequential(nn.Conv2d(7, 6, 3), *tail())
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text(MODELS)
    return tmp_path


@pytest.mark.parametrize(("name", "channels"), [("rgb", 3), ("grey", 1)])
def test_one_number_is_spread_over_the_channels(here: Path, name: str, channels: int) -> None:
    net = load_network(f"m.py:{name}", None, overrides=Overrides(size="16", mean="0.5", std="0.25"))
    assert net.input_shape == (channels, 16, 16)
    assert net.preprocessing is not None
    assert (net.preprocessing.mean, net.preprocessing.std) == ((0.5,) * channels, (0.25,) * channels)


def test_a_part_of_a_zoo_model_has_the_preprocessing_of_the_whole_and_its_own_channels() -> None:
    net = load_network(
        "torchvision:squeezenet1_1#features.0", None, overrides=Overrides(size="32", std="0.25")
    )
    assert net.input_shape == (3, 32, 32)
    assert net.preprocessing is not None
    assert (net.preprocessing.mean, net.preprocessing.std) == ((0.485, 0.456, 0.406), (0.25,) * 3)
    with pytest.raises(BadInputError, match=r"#features.3 reads 64 channels, and pictures have 1"):
        load_network("torchvision:squeezenet1_1#features.3", None, overrides=Overrides(size="32"))


def test_a_program_sets_the_size_of_its_pictures(here: Path) -> None:
    batch = torch.export.Dim.AUTO
    program = torch.export.export(
        nn.Conv2d(1, 2, 3), (torch.zeros(2, 1, 20, 24),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, "net.pt2")
    assert load_network("net.pt2", None).input_shape == (1, 20, 24)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("m.py:grey", "--mean", "0.4,0.5,0.6"),
            "--mean has 3 numbers and the model reads 1 channel (grey); give one",
        ),
        (
            ("m.py:rgb", "--std", "0.4,0.5"),
            "--std has 2 numbers and the model reads 3 channels; give one number, or",
        ),
        (
            ("m.py:spectral",),
            "m.py:spectral reads 7 channels, and pictures have 1 (grey) or 3 (RGB); use it from Python",
        ),
    ],
)
def test_channels_that_do_not_fit_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert run("layers", *arguments, "--size", "16") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line != "made"]
    assert said in line


def test_what_was_done_to_the_weights_is_printed_beside_the_output(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    Path("[red]").mkdir()
    torch.save({"state_dict": {f"model.{k}": v for k, v in net.state_dict().items()}}, "[red]/w.ckpt")
    assert run("layers", "m.py:grey", "--weights", "[red]/w.ckpt", "--size", "16", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)
    assert printed.err.splitlines() == [
        "note: '[red]/w.ckpt': the weights under 'state_dict' are used; the prefix 'model.' of the names is stripped"
    ]


def test_what_a_model_file_prints_is_not_in_the_output(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("layers", "m.py:rgb", "--size", "16", "--json") == 0
    printed = capsys.readouterr()
    assert [layer["name"] for layer in json.loads(printed.out)] == ["tail.0"]
    assert "made" in printed.err
