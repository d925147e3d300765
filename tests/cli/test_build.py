"""`backlight build`: what it writes, says and keeps, and bad input in one clear line."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

import backlight
from backlight.atlas import Evidence, writer
from cli.running import BUILD, MODEL, STUDY, check_refused, run


def test_build_figure_superpose_from_start_to_end(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "3", "--top", "4") == 0
    printed = capsys.readouterr()
    assert "12 images, 2 layers, 6 feature maps, 24 projections by deconvnet" in printed.out
    assert "backlight figure a.atlas relu2\n" in printed.out
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
    span = r"(about \d+ s|\d+ to \d+ s|\d+ s to \d+ min)"
    assert re.search(
        rf"{span} on this machine, as busy as it is now: {span} to scan {span} to certify {span} to project {span} "
        r"to keep images whole and a file of (about \d|less than 1) MB; nothing was written",
        text,
    )
    assert not (workplace / "a.atlas").exists()


def test_a_dry_run_knows_of_bands_and_whole_images(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {}
    for options in ((), ("--bands",), ("--no-wholes",)):
        assert run(*BUILD, "--dry-run", *options) == 0
        said[options] = " ".join(capsys.readouterr().out.split())
    assert re.search(r"180 projections by deconvnet (about )?\d", said[()])
    assert re.search(
        r"180 projections by deconvnet, and examples of the maps' bands (about )?\d", said[("--bands",)]
    )
    assert [re.search(r"\d+ s for examples of bands", text) is not None for text in said.values()] == [
        *(False, True, False)
    ]
    assert [re.search(r"\d+ s to keep images whole", text) is not None for text in said.values()] == [
        *(True, True, False)
    ]


def test_bands_are_added_to_a_finished_atlas_and_kept(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, has_bands, has_wholes in (
        (("--no-wholes",), False, False),
        (("--bands", "--no-wholes"), True, False),
        ((), True, True),
        (("--no-wholes",), True, True),
    ):
        assert run(*BUILD, "--maps", "2", "--top", "2", *options) == 0
        layer = backlight.open_atlas("a.atlas")["relu2"]
        own = layer[layer.channels[0]]
        assert all((example.tile is not None) == has_bands for example in own.bands)
        assert all((hit.whole is not None) == has_wholes for hit in own.hits)
    assert run("check", "a.atlas") == 0
    assert "examples of bands" in capsys.readouterr().out


def test_an_unknown_way_to_compile_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BUILD, "--compile", "yes") == 2
    assert "'yes' is not one of 'auto'" in capsys.readouterr().err
    assert not (workplace / "a.atlas").exists()


def test_maps_whose_hits_are_nearly_equal_are_counted_after_a_build(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BUILD, "--maps", "2") == 0
    assert "nearly equal" not in capsys.readouterr().out
    (picture, *_) = sorted((workplace / "pictures" / "a").iterdir())
    for i in range(40):  # so many copies that no hit of any map can be told from the next
        (workplace / "copies").mkdir(exist_ok=True)
        shutil.copy(picture, workplace / "copies" / f"{i}{picture.suffix}")
    assert run("build", BUILD[1], "copies", "-o", "b.atlas", "--layers", "relu2", "--maps", "2,3,5") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "nearly equal" in line]
    assert lines == ["3 feature maps have nearly equal hits: another machine may show others"]


def test_bad_pictures_are_listed_after_a_build(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "pictures" / "a" / "notes.jpg").write_text("shopping list")
    assert run(*BUILD) == 0
    printed = capsys.readouterr().out
    assert "1 picture could not be read" in printed
    assert "a/notes.jpg: " in printed


BAD = [
    (("build", "mine.py:make", "nowhere", "-o", "a.atlas"), "no such file or folder: 'nowhere'"),
    (("build", "mine.py:make", "empty", "-o", "a.atlas"), "empty"),
    (("build", "mine.py:make", "pictures", "-o", "no/a.atlas"), "no such folder: 'no'; make it first"),
    ((*BUILD, "--layers", "relu7"), "no layer 'relu7'; did you mean 'relu"),
    ((*BUILD, "--maps", "3,99"), r"channel 99 is out of range for layer 'relu1' (8 feature maps)"),
    ((*BUILD, "--maps", "some"), "--maps is a number, a list such as 3,17,40 or 0-31, or all, got 'some'"),
    ((*BUILD, "--top", "0"), "top and batch size must be at least 1"),
    ((*BUILD, "--rules", "lrp"), "rule set 'lrp' does not exist; choose one of deconvnet, guided, gradient, masked"),
    ((*BUILD, "--rules", "deconvnet,unpool=max"), "rule option unpool='max' does not exist; choose one of add"),
    ((*BUILD, "--device", "cuda:7"), "device 'cuda:7' is not available on this machine"),
    ((*BUILD, "--mean", "half"), "--mean is a list of numbers"),
    ((*BUILD, "--size", "big"), "--size is one number or HxW"),
    ((*BUILD[:3], "-o", "w.pt"), "'w.pt' exists and is not an atlas; it was not changed"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = writer.connect_for_writing

    def connect_to_a_small_disk(path: Path) -> sqlite3.Connection:
        connection = plain(path)
        connection.execute("PRAGMA max_page_count = 13")  # SQLite then reports a full disk
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(writer, "connect_for_writing", connect_to_a_small_disk)
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
    assert "the same command resumes after the last of them" in capsys.readouterr().err
    assert run(*BUILD) == 0
    assert "scanning" not in capsys.readouterr().err  # the scan was kept


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
    assert run("faithfulness", "best.atlas", MODEL, *STUDY) == 0
    assert "deconvnet and guided projections, beside" in " ".join(capsys.readouterr().out.split())
    assert next(iter(backlight.open_atlas("best.atlas")["relu2"].evidence.falls)) == "guided"


def test_best_rules_need_evidence_of_the_same_model(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
