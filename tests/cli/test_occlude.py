"""`backlight occlude`: what it says and saves of one picture, and bad input in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from backlight.studies.occlusion import Occlusion
from cli.running import check_refused, picture, run

OCCLUDE = ("occlude", "mine.py:make", "pictures/a/000.png", "--layer", "relu2", "--size", "32")


def test_what_is_said_is_what_is_saved(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    squares = ("--square", "16", "--stride", "16", "--class", "1", "--channel", "3", "--save", "n")
    assert run(*OCCLUDE, "--weights", "w.safetensors", *squares) == 0
    printed = capsys.readouterr().out
    found = Occlusion.load("n").summary()
    lines = printed.splitlines()
    for line, part in zip(lines[:2], ("map_sum", "unit_value"), strict=True):
        top, left, bottom, right = found[part]["falls_most_at"]
        assert f"{found[part]['uncovered']:.4g}, down to {found[part]['lowest']:.4g}" in line
        assert f"with rows {top}–{bottom - 1}, columns {left}–{right - 1} covered" in line
    assert lines[0].startswith("relu2, map 3, summed: ")
    assert lines[2].startswith("probability of class 1 (class given): ")
    assert lines[3].startswith("answers over 4 positions: ")
    assert lines[4:] == ["n.json, .npz"]


def test_rank_correlations_are_said_to_be_of_the_squares_that_touch_the_field(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*OCCLUDE, "--weights", "w.safetensors", "--square", "8", "--stride", "4", "--save", "n") == 0
    printed = capsys.readouterr().out
    found = Occlusion.load("n").summary()
    assert 3 <= found["n_in_field"] < found["n_positions"] == 49
    agreement = found["unit_value"]["agreement_with_projection"]
    assert f"; rank correlation with the projection {agreement:.2f}" in printed.splitlines()[1]
    assert f"over the {found['n_in_field']} of 49 squares that touch what the unit sees" in printed


def test_a_picture_given_beside_the_command_is_studied_with_its_projections(workplace: Path) -> None:
    squares = ("--square", "16", "--stride", "16", "--save", "n")
    assert run(*OCCLUDE, *squares, "--other", picture(), "--other", "pictures/b/001.png") == 0
    assert Occlusion.load("n").other_names == (picture(), "pictures/b/001.png")


def test_a_window_a_constant_and_class_scores(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to_fc = (*OCCLUDE[:3], "--layer", "fc", *OCCLUDE[5:], "--weights", "w.safetensors")
    window = ("--square", "16x8", "--stride", "16x12", "--save", "n")
    assert run(*to_fc, *window, "--fill", "0", "--channel", "2") == 0
    found = Occlusion.load("n")
    assert (found.config.size, found.config.stride, found.config.fill) == ((16, 8), (16, 12), (0.0,))
    assert (
        capsys.readouterr()
        .out.splitlines()[0]
        .startswith(f"fc, unit 2: {found.watched.unit_value:.4g}, down to ")
    )
    assert run(*to_fc, *window, "--fill", "#102030", "--channel", "2") == 0
    assert (Occlusion.load("n").cover == (0x10, 0x20, 0x30)).all()
    assert run(*to_fc, *window, "--baseline", "pictures/b/001.png") == 0
    assert len(set(Occlusion.load("n").cover.ravel().tolist())) > 20


def test_of_several_pictures_each_has_its_figure_and_numbers(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ("pictures/a/000.png", "pictures/b/001.png")
    squares = ("--square", "16", "--stride", "16", "--weights", "w.safetensors")
    assert (
        run("occlude", "mine.py:make", *two, *OCCLUDE[3:], *squares, "-o", "f.svg", "--save", "v1.2.npz") == 0
    )
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line[:-1] in two] == [f"{path}:" for path in two]
    assert printed.count("f-1.svg") == printed.count("f-2.svg") == 1
    for i, path in enumerate(two, 1):
        assert run("occlude", "mine.py:make", path, *OCCLUDE[3:], *squares, "--save", "one") == 0
        assert Occlusion.load(f"v1.2-{i}").summary() == Occlusion.load("one").summary()
    capsys.readouterr()
    (workplace / "f-2.svg").unlink()
    (workplace / "f-2.svg").mkdir()
    check_refused(capsys, ("occlude", "mine.py:make", *two, *OCCLUDE[3:], "-o", "f.svg"), "f-2.svg")


BAD = [
    ((*OCCLUDE, "--square", "8x"), "--square is a number of pixels or HxW, such as 32 or 32x16, got '8x'"),
    ((*OCCLUDE, "--stride", "8.5"), "--stride is a number of pixels or HxW, such as 32 or 32x16, got '8.5'"),
    (
        (*OCCLUDE, "--square", "8x33"),
        "the window must be at most 32x32 pixels, as the network sees images, got 8x33",
    ),
    ((*OCCLUDE, "--fill", "0,1"), "one number or one for each of the 3 channels, got 2"),
    ((*OCCLUDE, "--atlas", "a.atlas", "--other", "mine.py"), "--atlas or by --other; choose one of them"),
    ((*OCCLUDE, "-o", "f.gif"), "a figure is written as .png, .webp, .pdf, .svg or .jpg, got 'f.gif'"),
    (
        (*OCCLUDE, "--fill", "pinkish"),
        "a fill is mean, blur, noise, a number, or a colour such as 'black' or '#808080', got",
    ),
    ((*OCCLUDE, "--labels", "w.pt"), "cannot read the labels 'w.pt' (it is not text)"),
    ((*OCCLUDE, "--square", "40"), "the side of the square must be 1 to 32 pixels"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    check_refused(capsys, arguments, text)
