"""`backlight adaptive fit`: what it learns, writes and says, resuming after a kill, bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from backlight.adaptive import PRESETS, AdaptiveConfig, AdaptiveDeconvNet, LayerConfig
from backlight.adaptive.training import Training
from cli.adaptive_nets import LIVELY, NAMES, check_refused, save, written
from cli.running import run

FIT = (
    "adaptive",
    "fit",
    "pictures",
    "-o",
    "m.adn",
    "--preset",
    "small",
    "--size",
    "28",
    "--epochs",
    "2",
    "--batch",
    "4",
)


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Work beside 12 pictures."""


def test_fit_learns_and_show_draws(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pictures/a/notes.jpg").write_text("shopping list")
    assert run(*FIT) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "13 images of 28x28, 2 layers of 9, 24 feature maps, 2 epochs each with 2 steps on the filters"
        in printed
    )
    assert "layer 1: relative error " in printed
    assert "1 picture could not be read, the first: a/notes.jpg: " in printed
    assert (
        "backlight adaptive show m.adn pictures -o pictures" not in printed
    )  # the pictures lie there already
    assert "backlight adaptive show m.adn pictures -o m-pictures" in printed
    assert not Path("m.adn.part").exists()
    net = AdaptiveDeconvNet.load("m.adn")
    assert (net.config.size, len(net.history)) == ((28, 28), 4)
    assert (
        run(
            "adaptive", "show", "m.adn", "pictures", "-o", "out", "--maps", "3", "--top", "4", "--layers", "1"
        )
        == 0
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert written() == set(NAMES) - {"layer2.png", "tree.png"}
    assert "out/layer1.png: 3 feature maps of layer 1" in printed
    assert "tree.png is left out: no layer above the first is shown and active for a/000.png" in printed
    assert "1 picture could not be read" in printed


def test_a_layer_that_stays_silent_is_said_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = AdaptiveConfig((LayerConfig(3, filter=3, weight=1e-9),), size=(24, 24))
    monkeypatch.setitem(PRESETS, "small", silent)
    assert run(*FIT[:7]) == 0
    assert "note: nothing is active in layer 1" in " ".join(capsys.readouterr().err.split())


def test_fit_goes_on_after_a_kill_to_the_same_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*FIT) == 0
    whole = Path("m.adn").read_bytes()
    Path("m.adn").unlink()
    plain, count = Training.run_epoch, 0

    def killed(self: Training, *arguments: object) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        plain(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Training, "run_epoch", killed)
        assert run(*FIT) == 130
    assert "the same command resumes after the last of them" in " ".join(capsys.readouterr().err.split())
    assert Path("m.adn.part").exists()
    assert not Path("m.adn").exists()
    assert run(*FIT, "--seed", "1") == 2
    assert "'m.adn.part' is an unfinished training with other learning settings" in capsys.readouterr().err
    done: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(
            Training, "run_epoch", lambda self, *own: (done.append(self.layer), plain(self, *own))[1]
        )
        assert run(*FIT) == 0
    assert done == [2]
    assert "resuming from m.adn.part" in capsys.readouterr().out
    assert Path("m.adn").read_bytes() == whole
    assert not Path("m.adn.part").exists()


def test_only_some_images_drawn_by_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*FIT, "--images", "3", "--memory", "0.00001") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 images of 28x28" in printed
    assert "larger than --memory, so they are kept in temporary files" in printed
    some = Path("m.adn").read_bytes()
    Path("m.adn").unlink()
    assert run(*FIT, "--images", "3") == 0
    assert Path("m.adn").read_bytes() == some  # wherever the codes lay


NEW = ("adaptive", "fit", "pictures", "-o", "n.adn")

BAD = [
    (("adaptive", "fit", "nowhere", "-o", "n.adn"), "no such file or folder: 'nowhere'"),
    (("adaptive", "fit", "empty", "-o", "n.adn"), "empty"),
    (("adaptive", "fit", "pictures", "-o", "n.pt"), "an adaptive network is written as .adn, got 'n.pt'"),
    (("adaptive", "fit", "pictures", "-o", "no/n.adn"), "no such folder: 'no'; make it first"),
    (("adaptive", "fit", "pictures", "-o", "m.adn"), "'m.adn' exists already; remove it, or choose another name"),
    ((*NEW, "--preset", "big"), "no preset 'big'; presets are paper, two-layers, small"),
    ((*NEW, "--preset", "small", "--size", "4"), "images of 4x4 are smaller than its filters"),
    ((*NEW, "--size", "big"), "--size is one number or HxW"),
    ((*NEW, "--epochs", "0"), "epochs, CG steps, batch and sample must be at least 1"),
    ((*NEW, "--images", "0"), "--images must be at least 1, got 0"),
    ((*NEW, "--memory", "-1"), "--memory is a number of GB, at least 0, got -1"),
    ((*NEW, "--device", "cuda:7"), "device 'cuda:7' is not available on this machine"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[9:69] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)


def test_pictures_that_cannot_be_read_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken").mkdir()
    for name in ("a.png", "b.png"):
        Path("broken", name).write_text("none")
    assert run("adaptive", "fit", "broken", "-o", "n.adn") == 2
    assert "none of the 2 images of 'broken' can be read" in capsys.readouterr().err
    assert not Path("n.adn").exists()


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run("adaptive", "fit", "--help") == 0
    text = capsys.readouterr().out
    words = ("--preset", "--images", "--epochs", "--cg-steps", "--size", "--seed", "--memory", "resumes")
    assert [word for word in words if word not in text] == []


def test_fit_killed_between_its_two_files_ends_by_the_same_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.name == "m.adn.part":
            raise KeyboardInterrupt
        plain(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        assert run(*FIT) == 130
    whole = Path("m.adn").read_bytes()
    assert Path("m.adn.part").exists()
    part = Path("m.adn.part").read_bytes()
    assert run(*FIT) == 0
    assert Path("m.adn").read_bytes() == whole
    assert not Path("m.adn.part").exists()
    Path("m.adn.part").write_bytes(part)
    save(LIVELY)
    before = Path("m.adn").read_bytes()
    capsys.readouterr()
    assert run(*FIT) == 2
    assert (
        "error: 'm.adn' is another network than that of m.adn.part; remove one of them"
        in capsys.readouterr().err
    )
    assert Path("m.adn").read_bytes() == before


def test_an_unfinished_training_beside_a_network_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Training, "end_layer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert run(*FIT) == 130
    save(LIVELY)
    assert run(*FIT) == 2
    assert (
        "'m.adn' exists already, and so does the unfinished training m.adn.part; remove"
        in capsys.readouterr().err
    )
