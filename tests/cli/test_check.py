"""`backlight check`: what it has read, and exit code 1 for damage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backlight.atlas.schema import writing
from cli.running import check_refused, run
from fuzz.tiny import make_tiny_atlas


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Return the path of a small atlas in which nothing is damaged."""
    make_tiny_atlas(tmp_path / "t.atlas")
    return str(tmp_path / "t.atlas")


def test_counts_agree_in_number_with_what_is_counted(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", tiny) == 0
    *counts, last = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert {"3 layers", "5 images", "1 picture left out", "3 filters", "1 study"} <= set(counts)
    assert last.endswith("t.atlas: nothing is damaged")


def test_maps_with_uncertain_hits_are_counted_where_there_are_any(
    tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for n, words in (
        (0, None),
        (1, "1 feature map with uncertain hits"),
        (2, "2 feature maps with uncertain hits"),
    ):
        with writing(Path(tiny)) as connection:
            connection.execute("UPDATE certainty SET n_certain = 0 WHERE layer_id = 0 AND channel < ?", (n,))
        assert run("check", tiny) == 0
        counts = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert [line for line in counts if "uncertain hits" in line] == [words] * bool(words)


def test_damage_is_counted_and_listed_with_what_to_do(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(tiny)) as connection:  # past the checksums, as a disk would
        connection.execute("UPDATE hit SET scale = 2")
        connection.commit()
    assert run("check", tiny) == 1
    lines = capsys.readouterr().out.splitlines()
    (at,) = (i for i, line in enumerate(lines) if "t.atlas: damaged in " in line)
    assert 1 <= len(lines[at + 1 : -1]) <= 10
    assert all(line.startswith("  ") for line in lines[at + 1 : -1])
    assert lines[-1] == "restore a copy of the file, or rebuild the atlas under another name"


@pytest.mark.parametrize(
    ("name", "text"),
    [("gone.atlas", "no atlas at 'gone.atlas'"), ("mine.py", "'mine.py' exists and is not an atlas")],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    check_refused(capsys, ("check", name), text)
