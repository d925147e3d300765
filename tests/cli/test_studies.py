"""The commands of the studies: what each writes, keeps and prints, and bad input in one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

import backlight
from backlight.atlas import Evidence
from backlight.cli.writing import write_result
from backlight.errors import StorageError
from backlight.render.plots import Plot
from backlight.storage import locked
from backlight.studies.results import Result
from cli.running import BUILD, run
from fuzz.tiny import make_tiny_atlas

MODEL = "mine.py:make"  # code: an atlas cannot start it, it is named each time
QUICK = ("--maps", "2", "--hits", "2", "--shares", "20", "--fills", "mean")


def test_faithfulness_needs_no_more_than_the_atlas_and_its_model(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "3") == 0
    assert run("figure", "a.atlas", "relu2", "-o", "before.png") == 0
    capsys.readouterr()
    assert run("faithfulness", "a.atlas", MODEL, *QUICK, "-o", "f.png", "--save", "numbers") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "8 hits of 2 layers, each covered in 1 ways by three rule sets, these turned, and 5 more controls"
        in printed
    )
    assert (
        "lost when covered layer deconvnet guided gradient turned centre random gain over turned relu1"
        in printed
    )
    assert (
        "deconvnet projections, beside turned, centre, random, sobel, other map, other image: relu1:"
        in printed
    )
    assert Image.open("f.png").width > 300
    assert Path("numbers.json").exists()
    assert Path("numbers.npz").exists()
    evidence = backlight.open_atlas("a.atlas")["relu2"].evidence
    assert evidence is not None
    assert evidence.n == 2
    assert run("figure", "a.atlas", "relu2", "-o", "after.png") == 0
    assert Image.open("after.png").height > Image.open("before.png").height


def test_the_rules_with_the_best_evidence_are_used_layer_by_layer(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "3") == 0
    weak = Evidence(
        {"deconvnet": 0.4, "guided": 0.9}, "worse than centre; guided is better", False, "guided", 3
    )
    backlight.atlas.keep_evidence(Path("a.atlas"), "relu2", weak, {})
    best = [*BUILD, "--maps", "3", "--rules", "best", "--evidence", "a.atlas"]
    best[best.index("a.atlas")] = "best.atlas"
    assert run(*best) == 0
    printed = capsys.readouterr().out
    assert "projections by deconvnet and guided" in printed
    assert "guided, by evidence: relu2" in printed
    assert "no evidence, so deconvnet: relu1" in printed
    made, before = backlight.open_atlas("best.atlas"), backlight.open_atlas("a.atlas")
    assert [layer.rules.name for layer in made.layers] == ["deconvnet", "guided"]
    channel = made["relu2"].channels[0]
    hits = [atlas["relu2"][channel].hits[0].projection_values for atlas in (made, before)]
    assert abs(hits[0] - hits[1]).max() > 0.1 * abs(hits[0]).max()
    assert run(*best) == 0  # the same again: nothing left to do
    assert run("faithfulness", "best.atlas", MODEL, *QUICK) == 0
    assert "deconvnet and guided projections, beside" in " ".join(capsys.readouterr().out.split())
    assert next(iter(backlight.open_atlas("best.atlas")["relu2"].evidence.falls)) == "guided"


def test_best_rules_need_evidence_of_the_same_model(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "2") == 0
    other = ("build", "mine.py:make", "pictures", "-o", "b.atlas", "--size", "32")
    for arguments, message in [
        (("--rules", "best"), "--rules best and --evidence ATLAS go together"),
        (("--evidence", "a.atlas"), "--rules best and --evidence ATLAS go together"),
        (("--rules", "best", "--evidence", "a.atlas"), "a.atlas is of another model or other weights"),
        (
            ("--rules", "best", "--evidence", "a.atlas", "--weights", "w.safetensors"),
            "a.atlas has no evidence yet; run `backlight faithfulness a.atlas`",
        ),
    ]:
        capsys.readouterr()
        assert run(*other, *arguments) == 2
        assert message in capsys.readouterr().err


def test_an_atlas_built_from_python_is_told_its_model_and_images(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "2", "--layers", "relu2") == 0
    Path("elsewhere").mkdir()
    Path("a.atlas").rename("elsewhere/a.atlas")
    Path("pictures").rename("moved")
    assert run("faithfulness", "elsewhere/a.atlas", MODEL, *QUICK) == 2
    assert "was built from mine.py:make and pictures: run this in the folder" in capsys.readouterr().err
    told = ("faithfulness", "elsewhere/a.atlas", "mine.py:make", "moved", "--weights", "w.safetensors")
    assert run(*told, *QUICK) == 0
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
    ("arguments", "message"),
    [
        (("--fills", "pink"), "a fill is mean, blur, noise, got 'pink'"),
        (("--shares", "many"), "--shares is a list of percentages such as 5,20, got 'many'"),
        (("--maps", "some"), "--maps is a number or all, got 'some'"),
        (("-o", "f.gif"), "a figure is written as .png, .pdf or .svg, got 'f.gif'"),
        (("--save", "nowhere/f"), "no such folder: 'nowhere'; make it first"),
        (("--layers", "relu9"), "a.atlas has no layer 'relu9'; it has relu1, relu2"),
    ],
)
def test_bad_input_to_faithfulness_is_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(*BUILD, "--maps", "2") == 0
    capsys.readouterr()
    assert run("faithfulness", "a.atlas", MODEL, *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_sanity_prints_what_stays(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BUILD, "--maps", "3", "--layers", "relu2") == 0
    capsys.readouterr()
    assert run("sanity", "a.atlas", MODEL, "--maps", "2", "-o", "s.png", "--save", "s") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "relu2: similarity to the trained projection" in printed
    assert "deconvnet all weights random" in printed
    assert "What remains with random weights was not learnt." in printed
    assert Image.open("s.png").width > 300
    assert Path("s.json").exists()
    assert run("sanity", "a.atlas", MODEL, "--maps", "1") == 2
    assert "at least two hits are needed" in capsys.readouterr().err


def test_a_stopped_study_of_faithfulness_keeps_its_layers_and_goes_on(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = backlight.studies.faithfulness
    assert run(*BUILD, "--maps", "2") == 0
    by_layer = command.run_by_layer

    def stopped(*arguments: object, **named: object) -> Iterator[object]:
        yield next(iter(by_layer(*arguments, **named)))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_by_layer", stopped)
    assert run("faithfulness", "a.atlas", MODEL, *QUICK) == 130
    assert "stopped; what is finished is kept" in capsys.readouterr().err
    kept = backlight.open_atlas("a.atlas")
    assert kept["relu1"].evidence is not None
    assert kept["relu2"].evidence is None
    monkeypatch.setattr(command, "run_by_layer", by_layer)
    assert run("faithfulness", "a.atlas", MODEL, *QUICK) == 0
    assert backlight.open_atlas("a.atlas")["relu2"].evidence is not None


def test_a_stopped_study_that_keeps_nothing_says_so(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = backlight.studies.sanity

    def stopped(*_: object, **named: object) -> None:
        raise KeyboardInterrupt

    assert run(*BUILD, "--maps", "2", "--layers", "relu2") == 0
    monkeypatch.setattr(command, "run", stopped)
    assert run("sanity", "a.atlas", MODEL) == 130
    assert "stopped; nothing was written" in capsys.readouterr().err


def test_a_study_that_keeps_evidence_waits_for_no_build(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("backlight.storage.locking.PATIENCE_S", 0.0)
    assert run(*BUILD, "--maps", "1") == 0
    monkeypatch.setattr(
        backlight.studies.faithfulness, "run_by_layer", lambda *_: pytest.fail("work was done")
    )
    with (  # held by another thread, as by another process
        ThreadPoolExecutor(1) as pool,
        ExitStack() as held,
    ):
        pool.submit(held.enter_context, locked("a.atlas")).result()
        assert run("faithfulness", "a.atlas", MODEL, *QUICK) == 2
    assert "error: 'a.atlas' is being written by process" in capsys.readouterr().err


class StandIn(Result):
    study = "stand-in"

    def summary(self) -> dict[str, object]:
        return {}

    def plot(self) -> Plot:
        return Plot()


def test_a_figure_that_cannot_be_written_leaves_the_older_one_and_loses_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: object, path: Path, dpi: int) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "f.png"
    path.write_bytes(b"older")
    monkeypatch.setattr("backlight.render.plots.Plot.savefig", half)
    with pytest.raises(StorageError, match=r"cannot write '.*f\.png' \(No space left on device\)"):
        write_result(StandIn(), path, tmp_path / "r")
    assert sorted(own.name for own in tmp_path.iterdir()) == [
        "f.png",
        "r.json",
        "r.npz",
    ]  # the numbers are there
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("output", "save", "what"),
    [
        ("folder.png", None, "'folder.png' is a folder; give the name of the figure to write"),
        (None, "r", "'r.npz' is a folder; give the name of the file of numbers to write"),
        ("no/f.png", None, "no such folder: 'no'; make it first"),
    ],
)
def test_where_nothing_can_be_written_no_work_is_done(
    workplace: Path, capsys: pytest.CaptureFixture[str], output: str | None, save: str | None, what: str
) -> None:
    for name in ("folder.png", "r.npz"):
        Path(name).mkdir()
    flags = [*(["-o", output] if output else []), *(["--save", save] if save else [])]
    assert run("faithfulness", "none.atlas", *flags) == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {what}"]
