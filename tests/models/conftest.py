"""What the tests of models share: an empty folder to work in, and an exported program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # imported before pytest has hooked types in, the package would not be checked
    from models.exported import Records


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, and go there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def records() -> Records:
    """Return the files of an exported program, by name; exported once, so not to be changed."""
    from models.exported import exported

    return exported()[1]
