"""What the tests of models share: an empty folder to work in, and an exported program."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.exported import Records, exported


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, and go there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def records() -> Records:
    """Return the files of an exported program, by name; exported once, so not to be changed."""
    return exported()[1]
