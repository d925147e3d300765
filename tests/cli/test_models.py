"""Models and weights on the command line: the channels of the pictures, and what is said about the weights."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import backlight
from backlight.cli.models import Overrides, load_network
from backlight.errors import BadInputError
from cli.running import BUILD, MODEL, STUDY, run
from conftest import SmallNet
from fuzz.tiny import make_tiny_atlas

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


def test_a_zoo_model_without_weights_is_said_to_be_random(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("layers", "torchvision:squeezenet1_1", "--size", "64") == 0
    assert "random weights" in capsys.readouterr().err


def test_a_fine_tuned_head_is_found_by_its_weights(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torchvision

    torch.save(torchvision.models.squeezenet1_1(num_classes=7).state_dict(), workplace / "seven.pt")
    assert run("layers", "torchvision:squeezenet1_1", "--weights", "seven.pt", "--size", "64") == 0
    assert re.search(r"classifier\.2 +relu +7 ", capsys.readouterr().out)


def test_an_exported_program_is_a_model(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = torch.export.Dim.AUTO
    program = torch.export.export(
        SmallNet().eval(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, workplace / "small.pt2")
    assert run("layers", "small.pt2", "--size", "32") == 0
    assert re.search(r"relu2 +relu +12 +8x8", capsys.readouterr().out)


def test_demo_needs_its_distribution(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setitem(sys.modules, "backlight_demo", None)
    assert run("layers", "demo") == 2
    assert "the demo's model is not installed; run `make demo`" in capsys.readouterr().err


def test_an_atlas_built_from_python_is_told_its_model_and_images(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "2", "--layers", "relu2") == 0
    Path("elsewhere").mkdir()
    Path("a.atlas").rename("elsewhere/a.atlas")
    Path("pictures").rename("moved")
    assert run("faithfulness", "elsewhere/a.atlas", MODEL, *STUDY) == 2
    assert "was built from mine.py:make and pictures: run this in the folder" in capsys.readouterr().err
    told = ("faithfulness", "elsewhere/a.atlas", "mine.py:make", "moved", "--weights", "w.safetensors")
    assert run(*told, *STUDY) == 0
    assert backlight.open_atlas("elsewhere/a.atlas")["relu2"].evidence is not None


@pytest.mark.parametrize("command", ["faithfulness", "sanity"])
@pytest.mark.parametrize(
    ("named", "typed"),
    [
        ("evil.py:make", "evil.py:make pictures --weights w.pt"),
        ("evil:make", "evil:make pictures --weights w.pt"),
        ("evil.pt2", "evil.pt2 pictures --weights w.pt"),
        ("torchvision/evil.py:make", "torchvision/evil.py:make pictures --weights w.pt"),
        ("evil.py:a; rm -rf ~", "'evil.py:a; rm -rf ~' pictures --weights w.pt"),
        ("evil.py:\x1b[2Jmake\n", "'evil.py:\\x1b[2Jmake\\n' pictures --weights w.pt"),
    ],
)
def test_code_that_an_atlas_names_is_not_run_and_the_command_that_runs_it_is_told(
    workplace: Path, capsys: pytest.CaptureFixture[str], command: str, named: str, typed: str
) -> None:
    for name in ("evil.py", "torchvision/evil.py"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("import pathlib\npathlib.Path('ran').touch()\ndef make(): return None")
    make_tiny_atlas(Path("a.atlas"))
    backlight.atlas.keep_origin(Path("a.atlas"), {"model": named, "images": "pictures", "weights": "w.pt"})
    assert run(command, "a.atlas") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "that is code, which a file cannot start by itself" in line
    assert line.endswith(f"name it on the command line: backlight {command} a.atlas {typed}")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("address", "typed"),
    [
        ("https://host/a.tar", "https://host/a.tar"),
        ("file:///photos", "file:///photos"),
        ("s3://b/\x1b[2J x", "'s3://b/\\x1b[2J x'"),
    ],
)
def test_an_address_that_an_atlas_names_is_not_contacted_and_the_command_that_reads_it_is_told(
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    typed: str,
) -> None:
    opened: list[object] = []
    monkeypatch.setattr("backlight.cli.models.open_images", opened.append)
    make_tiny_atlas(Path("a.atlas"))
    zoo = "torchvision:squeezenet1_1"
    backlight.atlas.keep_origin(Path("a.atlas"), {"model": zoo, "images": address, "weights": None})
    for model in ((), (zoo,)):
        assert run("faithfulness", "a.atlas", *model) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "as its images, and that is an address, which is not contacted because a file says so" in line
        assert line.endswith(f"name it on the command line: backlight faithfulness a.atlas {zoo} {typed}")
    assert opened == []


def test_several_outputs_are_said_and_chosen_on_the_command_line(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "two.py").write_text(
        "from mine import SmallNet\n\nclass Two(SmallNet):\n    def forward(self, x):\n"
        "        maps = self.relu1(self.conv1(x))\n"
        "        return {'embedding': maps.mean((2, 3)), 'logits': super().forward(x)}\n"
        "\ndef make():\n    return Two()\n"
    )
    picture = str(next(Path("pictures").glob("*/*.png")))
    model = ("two.py:make", picture, "--weights", "w.safetensors", "--size", "32")
    squares = ("--layer", "relu1", "--square", "16", "--stride", "16")
    returned = "Two returns 'embedding' (8) and 'logits' (5); the class is read from"
    assert run("layers", model[0], "--size", "32") == 0
    assert f"{returned} 'logits', by its name." in " ".join(capsys.readouterr().out.split())
    few = ("--translation", "2", "--scale", "1", "--rotation", "0")
    assert run("occlude", *model, *squares) == 0
    said = f"note: {returned} 'logits', by its name; --class-output chooses another"
    assert said in " ".join(capsys.readouterr().err.split())
    assert run("invariance", *model, *few, "--class-output", "embedding") == 0
    assert f"note: {returned} 'embedding', as asked" in " ".join(capsys.readouterr().err.split())
    assert run("invert", *model, "-o", "x.png", "--class-output", "head") == 2
    assert "Two has no output 'head'" in capsys.readouterr().err
