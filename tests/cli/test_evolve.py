"""`backlight evolve`: what it writes and prints, how it resumes, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.cli import evolve
from backlight.studies.evolution import open_evolution
from backlight.studies.evolution.result import SETTLED_SHARE
from cli.running import check_refused, run
from conftest import SmallNet

EVOLVE = ("evolve", "mine.py:make", "pictures", "--size", "32", "-o", "e.npz", "--maps", "3")
RUNS = ("--checkpoints", "runs/*.pt")


def write_checkpoint(name: str, channel: int) -> None:
    """Write a checkpoint of the small network in which one filter of its second convolution is turned around."""
    torch.manual_seed(0)
    model = SmallNet()
    with torch.no_grad():
        model.conv2.weight[channel] *= -1
    Path("runs").mkdir(exist_ok=True)
    state = {f"module.{name}": own for name, own in model.state_dict().items()}
    torch.save({"epoch": 1, "model_state_dict": state}, Path("runs") / name)


def test_checkpoints_are_followed_and_a_later_one_is_added(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint("epoch2.pt", 1)
    write_checkpoint("epoch10.pt", 2)
    Path("pictures/a/broken.png").write_bytes(b"no picture")
    Path("runs/broken.pt").write_bytes(Path("runs/epoch2.pt").read_bytes()[:999])
    assert run(*EVOLVE, *RUNS) == 0
    told = capsys.readouterr()
    words = " ".join(told.out.split())
    assert "e.npz: 2 steps over 12 images, epoch2 to epoch10" in words
    assert "at which step half of a layer's change is done, and when it is settled" in words
    assert "relu1 epoch2 epoch2 0.000 epoch2 epoch2 0.000 0%" in words
    assert "1 picture could not be read, the first: a/broken.png: " in words
    assert "1 checkpoint could not be used: broken: 'runs/broken.pt' is truncated or damaged" in words
    assert words.endswith("e.png e-curves.png")
    assert (
        told.err.count("the prefix 'module.' of the names is stripped") == 1
    )  # said once for all checkpoints
    first = open_evolution("e.npz")
    assert first.steps == ("epoch2", "epoch10")
    assert [own.name for own in first.layers] == ["relu1", "relu2"]
    for picture in ("e.png", "e-curves.png"):
        assert Image.open(picture).width > 300
    write_checkpoint("epoch9.pt", 2)
    assert run(*EVOLVE, *RUNS) == 0
    second = open_evolution("e.npz")
    assert second.steps == ("epoch2", "epoch9", "epoch10")
    np.testing.assert_array_equal(second.values[[0, 2]], first.values)
    assert (second.unlike[2] == 0).all()


def test_one_checkpoint_has_a_grid_and_no_curves(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--layers", "relu2", "--rules", "guided", "--seed", "3")
    assert run(*EVOLVE, "--checkpoints", "w.pt", *options, "--checkpoints", "w.pt") == 0
    assert "e.npz: 1 step over 12 images, w to w" in capsys.readouterr().out
    found = open_evolution("e.npz")
    assert (found.config.rules.name, found.config.seed, found.config.maps) == ("guided", 3, 3)
    assert Path("e.png").exists()
    assert not Path("e-curves.png").exists()
    assert run(*EVOLVE, "--checkpoints", "w.pt") == 2
    assert "the evolution in 'e.npz' is of other maps, seed or rules" in capsys.readouterr().err


def test_no_checkpoint_that_can_be_used_is_an_error(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*EVOLVE, "--checkpoints", "mine.py") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: cannot use the checkpoint: 'mine.py' cannot be read as weights")
    assert not Path("e.npz").exists()


def test_the_command_says_what_the_study_says() -> None:
    """It is written twice, since the study cannot be asked without importing PyTorch."""
    assert evolve.SETTLED == SETTLED_SHARE


BAD = [
    ((*EVOLVE, "--checkpoints", "gone/*.pt"), "no checkpoint is found by 'gone/*.pt'"),
    ((*EVOLVE, "--checkpoints", "empty"), "'empty' is a folder; give a pattern of the files in it"),
    ((*EVOLVE, "--checkpoints", "w.pt", "--layers", "relu9"), "SmallNet has no layer 'relu9'"),
    ((*EVOLVE, "--checkpoints", "w.pt", "--maps", "x"), "--maps is a number or all, got 'x'"),
    ((*EVOLVE[:5], "-o", "e.png", "--checkpoints", "w.pt"), "an evolution is written as .npz, got 'e.png'"),
    ((*EVOLVE[:5], "-o", "no/e.npz", "--checkpoints", "w.pt"), "no such folder: 'no'; make it first"),
    (("evolve", "mine.py:make", "empty", *EVOLVE[3:], "--checkpoints", "w.pt"), "empty"),
    (("evolve", "demo2", "pictures", *EVOLVE[3:], "--checkpoints", "w.pt"), "'demo2' is not a model"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)


def test_a_stopped_command_says_that_it_resumes(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from backlight.studies import evolution

    def stopped(*_: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evolution, "run", stopped)
    assert run(*EVOLVE, "--checkpoints", "w.pt") == 130
    assert "the same command resumes after the last of them" in capsys.readouterr().err
