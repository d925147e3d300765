"""What commands write: a file that cannot be written is refused first, or loses nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from backlight.cli.writing import write_result
from backlight.errors import StorageError
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
