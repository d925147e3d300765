"""The commands: what each writes and prints, and bad input in one clear line with exit code 2."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import backlight
from backlight.atlas.writer import AtlasWriter
from backlight.cli import main
from backlight.cli.views import describe_seed
from cli.running import BUILD, run
from conftest import SmallNet


def test_build_figure_superpose_from_start_to_end(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "3", "--top", "4") == 0
    printed = capsys.readouterr()
    assert "12 images, 2 layers, 6 feature maps, 24 projections by deconvnet" in printed.out
    assert "backlight figure a.atlas relu2 -o figure.png" in printed.out
    assert run("figure", "a.atlas", "relu2", "-o", "fig.png") == 0
    assert run("figure", "a.atlas", "relu1", "-o", "filters.png", "--filters") == 0
    assert run("superpose", "a.atlas", "relu2", "-o", "sum.png", "--top", "2") == 0
    for name in ("fig.png", "filters.png", "sum.png"):
        assert Image.open(workplace / name).width > 100
    channels = backlight.open_atlas("a.atlas")["relu2"].channels
    assert run("figure", "a.atlas", "relu2", "-o", "one.png", "--channels", str(channels[1])) == 0
    assert Image.open("one.png").size != Image.open("fig.png").size


def test_a_dry_run_says_how_much_and_writes_nothing(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--dry-run") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "12 images, 2 layers, 20 feature maps, 180 projections" in text
    assert re.search(
        r"about \d+ s to scan and \d+ s to project .* a file of about \d+ MB; nothing was written", text
    )
    assert not (workplace / "a.atlas").exists()


def test_an_unknown_way_to_compile_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BUILD, "--compile", "yes") == 2
    assert "'yes' is not one of 'auto'" in capsys.readouterr().err
    assert not (workplace / "a.atlas").exists()


def test_bad_pictures_are_listed_after_a_build(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "pictures" / "a" / "notes.jpg").write_text("shopping list")
    assert run(*BUILD) == 0
    printed = capsys.readouterr().out
    assert "1 picture could not be read" in printed
    assert "a/notes.jpg: " in printed


def test_layers_prints_a_table_and_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("layers", "mine.py:make", "--weights", "w.pt", "--size", "32") == 0
    printed = capsys.readouterr()
    assert re.search(r"relu2 +relu +12 +8x8 +13x13 every 4", printed.out)
    assert "random weights" not in printed.err
    assert run("layers", "mine.py:make", "--size", "32", "--json", "--all") == 0
    printed = capsys.readouterr()
    names = [layer["name"] for layer in json.loads(printed.out)]
    assert names == ["conv1", "relu1", "pool", "conv2", "relu2", "mean", "fc"]


def test_a_zoo_model_without_weights_is_said_to_be_random(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("layers", "torchvision:squeezenet1_1", "--size", "64") == 0
    assert "random weights" in capsys.readouterr().err


def test_project_and_superpose_an_image(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ("--weights", "w.safetensors", "--size", "32", "--layer", "relu2", "-o", "p.png")
    images = ("pictures/a/000.png", "pictures/b/001.png")
    assert run("project", "mine.py:make", *images, *shared) == 0
    assert re.search(
        r"000\.png: relu2 channel \d+, row \d, column \d, activation \d", capsys.readouterr().out
    )
    assert (
        run("project", "mine.py:make", images[0], *shared, "--channel", "3", "--row", "2", "--col", "1") == 0
    )
    assert "relu2 channel 3, row 2, column 1" in capsys.readouterr().out
    assert run("superpose", "mine.py:make", images[0], *shared, "--top", "2", "--rules", "guided") == 0
    assert Image.open("p.png").width > 600


def test_the_seed_of_a_unit_can_be_given_and_the_legend_says_so(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    legends: list[str] = []
    monkeypatch.setattr(
        backlight.render, "strip", lambda views, title, legend: legends.append(legend) or views[0][1]
    )
    weights = load_file("w.safetensors")
    weights["conv2.bias"] -= 100
    save_file(weights, "low.safetensors")
    for asked, said in (((), "what lowers it."), (("--seed-value", "1"), "seeded with 1 instead of")):
        shared = ("--weights", "low.safetensors", "--size", "32", "--layer", "conv2", "-o", "p.png", *asked)
        unit = ("--channel", "3", "--row", "2", "--col", "1")
        assert run("project", "mine.py:make", "pictures/a/000.png", *shared, *unit) == 0
        assert "activation -" in capsys.readouterr().out
        assert said in legends.pop()
        assert run("superpose", "mine.py:make", "pictures/a/000.png", *shared, "--top", "99") == 0
        assert said in legends.pop()


def test_nothing_is_said_of_a_unit_that_is_seeded_with_its_own_positive_activation() -> None:
    assert describe_seed("activation", [0.5, 2.0]) == ""
    assert describe_seed("activation", [0.5, 0.0]) == "A unit at zero has an empty picture."


BAD = [
    (("build", "mine.py:make", "nowhere", "-o", "a.atlas"), "no such file or folder: 'nowhere'"),
    (("build", "mine.py:make", "empty", "-o", "a.atlas"), "empty"),
    (("build", "mine.py:make", "pictures", "-o", "no/a.atlas"), "no such folder: 'no'; make it first"),
    ((*BUILD, "--layers", "relu7"), "no layer 'relu7'; did you mean 'relu"),
    ((*BUILD, "--maps", "3,99"), r"channel 99 is out of range for layer 'relu1' (8 feature maps)"),
    ((*BUILD, "--maps", "some"), "--maps is a number, a list such as 3,17,40 or all, got 'some'"),
    ((*BUILD, "--top", "0"), "top and batch size must be at least 1"),
    ((*BUILD, "--rules", "lrp"), "rule set 'lrp' does not exist; choose one of deconvnet, guided, gradient, masked"),
    ((*BUILD, "--rules", "deconvnet,unpool=max"), "rule option unpool='max' does not exist; choose one of add"),
    ((*BUILD, "--device", "cuda:7"), "device 'cuda:7' is not available on this machine"),
    ((*BUILD, "--mean", "half"), "--mean is a list of numbers"),
    ((*BUILD, "--size", "big"), "--size is one number or HxW"),
    ((*BUILD[:3], "-o", "w.pt"), "'w.pt' exists and is not an atlas; it was not changed"),
    (("layers", "torchvision:resnet19"), "torchvision has no model 'resnet19'; did you mean resnet"),
    (("layers", "timm:resnet19"), "timm has no model 'resnet19'"),
    (("layers", "resnet18"), "'resnet18' is not a model; a model is torchvision:NAME"),
    (("layers", "nopackage.models:make"), "No module named 'nopackage'"),
    (("layers", "mine.py:other"), "'mine.py' has no callable 'other'"),
    (("layers", "mine.py:number"), "mine.py:number returned a value of type int, not a torch.nn.Module"),
    (("layers", "gone.py:make"), "no such file: 'gone.py'"),
    (("layers", "gone.pt2"), "no such file: 'gone.pt2'"),
    (("layers", "mine.py:make", "--weights", "gone.pt"), "no such weights file: 'gone.pt'"),
    (("layers", "mine.py:make", "--weights", "mine.py"), "'mine.py'"),
    (("layers", "mine.py:make", "--weights", "DEFAULT"), "has no DEFAULT weights; give a file"),
    (("layers", "torchvision:alexnet", "--weights", "w.pt"), "'w.pt' does not fit torchvision:alexnet: 16 tensors (first 'features.0.weight') are missing"),
    (("layers", "torchvision:alexnet", "--size", "16"), "AlexNet does not take an input of 3x16x16"),
    (("figure", "gone.atlas", "relu1", "-o", "f.png"), "no atlas at 'gone.atlas'; `backlight build"),
    (("figure", "mine.py", "relu1", "-o", "f.png"), "'mine.py' exists and is not an atlas"),
    (("figure", "mine.py", "relu1", "-o", "f.tga"), "a picture is written as .png, .jpg or .webp"),
    (("project", "mine.py:make", "mine.py", "--layer", "relu1", "-o", "p.png", "--size", "32"), "'mine.py': "),
    (("project", "mine.py:make", "pictures/a/000.png", "--layer", "relu1", "--row", "1", "-o", "p.png"), "--channel, --row and --col"),
    (("superpose", "mine.py:make", "pictures/a/000.png", "-o", "p.png"), "--layer names the layer"),
    (("project", "mine.py:make", "pictures/a/000.png", "--layer", "relu1", "-o", "p.png", "--seed-value", "high"), "--seed-value is `activation` or a number such as 1, got 'high'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    (workplace / "empty").mkdir()
    before = (workplace / "w.pt").read_bytes()
    assert run(*arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert text in lines[0]
    assert (workplace / "w.pt").read_bytes() == before


def test_debug_shows_the_traceback(workplace: Path) -> None:
    with pytest.raises(backlight.BacklightError, match="no such file or folder"):
        main(["build", "mine.py:make", "nowhere", "-o", "a.atlas", "--debug"])


def test_failed_work_exits_with_1(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = SmallNet().state_dict()
    state["conv2.weight"][:] = float("nan")
    save_file(state, workplace / "nan.safetensors")
    arguments = [a if a != "w.safetensors" else "nan.safetensors" for a in BUILD]
    assert run(*arguments) == 1
    assert "layer 'relu2' has an activation that is not finite" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = AtlasWriter.__init__

    def begin_on_a_small_disk(self: AtlasWriter, *args: object) -> None:
        begin(self, *args)  # type: ignore[arg-type]
        self._connection.execute("PRAGMA max_page_count = 13")  # SQLite then reports a full disk

    with monkeypatch.context() as patched:
        patched.setattr(AtlasWriter, "__init__", begin_on_a_small_disk)
        assert run(*BUILD) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "no space is left on the disk; free some and rerun the same command" in line
    assert run(*BUILD) == 0


def test_ctrl_c_keeps_what_is_done_and_says_so(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from backlight.projection import Projector

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Projector, "__call__", interrupted)
        assert run(*BUILD) == 130
    assert "the same command resumes from there" in capsys.readouterr().err
    assert run(*BUILD) == 0
    assert "scanning" not in capsys.readouterr().err  # the scan was kept


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


def test_the_program_is_on_the_path() -> None:
    assert shutil.which("backlight", path=str(Path(__import__("sys").executable).parent))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"backlight {backlight.__version__}\n"
