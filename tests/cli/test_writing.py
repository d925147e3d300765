"""What commands write: a file that cannot be written is refused first, or loses nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from backlight.cli.writing import check_output, check_plot, figure_path, write_figure, write_result
from backlight.errors import BadInputError, StorageError
from backlight.render.plots import Plot
from backlight.studies.results import Result
from cli.running import run


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


@pytest.mark.parametrize("name", ["p.PNG", "p.jpeg", "p.webp"])
def test_a_picture_is_written_in_the_form_of_its_suffix(tmp_path: Path, name: str) -> None:
    path = check_output(tmp_path / name)
    write_figure(Image.new("RGB", (4, 3)), path)
    assert Image.open(path).size == (4, 3)
    assert [own.name for own in tmp_path.iterdir()] == [name]


def test_a_picture_that_cannot_be_written_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "p.png"
    path.write_bytes(b"older")
    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(StorageError, match=r"cannot write '.*p\.png' \(No space left on device\)"):
        write_figure(Image.new("RGB", (4, 3)), path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    known = r"a figure is written as \.png, \.webp, \.pdf, \.svg or \.jpg, got '.*f\.gif'"
    with pytest.raises(BadInputError, match=known):
        check_output(tmp_path / "f.gif")
    with pytest.raises(BadInputError, match=known):
        check_plot(tmp_path / "f.gif", None)
    check_plot(None, None)
    check_plot(tmp_path / "f.SVG", tmp_path / "numbers")


@pytest.mark.parametrize("name", ["p.pdf", "p.svg", "p.webp", "p.jpg", "p.png"])
def test_pictures_and_plots_are_written_in_every_form(tmp_path: Path, name: str) -> None:
    for figure in (Image.new("RGB", (40, 30)), Plot()):
        path = check_output(tmp_path / name)
        write_figure(figure, path)
        assert path.stat().st_size > 0
        path.unlink()


def test_a_figure_without_a_name_gets_a_new_one_by_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert figure_path(Path("own.pdf"), "a", "b") == Path("own.pdf")
    for name in ("photos-relu1.png", "photos-relu1-2.png", "photos-relu1-3.png"):
        assert figure_path(None, "photos", "relu1", "") == Path(name)
        Path(name).touch()
    assert figure_path(None, "../a b", "mixed/5b[x]\n", ".hidden") == Path("a-b-mixed-5b-x-hidden.png")
    assert figure_path(None, "..") == Path("figure.png")
    assert len(figure_path(None, "x" * 300).name) == 104
