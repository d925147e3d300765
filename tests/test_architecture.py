"""docs/architecture.md names only rooms and files that exist, and every room."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ROOMS = sorted(
    path.name for path in (ROOT / "src" / "backlight").iterdir() if (path / "__init__.py").exists()
)


def test_every_file_that_the_page_names_is_there() -> None:
    named = {name for name in re.findall(r"`([\w/.]+(?:\.py|/))`", PAGE) if "FAMILY" not in name}
    places = [ROOT, ROOT / "src" / "backlight", ROOT / "src" / "backlight" / "images"]
    lost = {name for name in named if not any((place / name).exists() for place in places)}
    assert len(named) > 20
    # A study's files are named without its folder.
    assert lost <= {"result.py", "run.py", "plot.py"}


def test_every_room_is_in_the_picture() -> None:
    picture = PAGE.split("```")[1]
    assert sorted(re.findall(r"\b(\w+)/ ", picture)) == ROOMS


def test_the_tests_of_a_module_are_in_the_file_of_its_name_or_of_its_study() -> None:
    source, tests = ROOT / "src" / "backlight", ROOT / "tests"
    lost = []
    for path in sorted(source.rglob("*.py")):
        place = path.relative_to(source)
        study = tests / place.parents[1] / f"test_{place.parent.name}.py" if len(place.parts) > 2 else None
        if (
            path.name == "__init__.py"
            or (tests / place.parent / f"test_{path.name}").exists()
            or (study is not None and study.exists())
        ):
            continue
        # a record or a constant of a few lines is tested with what uses it
        if len(path.read_text("utf-8").splitlines()) > 40:
            lost.append(str(place))
    assert lost == []
