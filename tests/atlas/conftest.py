"""What the tests of atlases share: a small atlas, a tiny one, and locks that are not waited for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # imported before pytest has hooked types in, the package would not be checked
    from backlight import Atlas


@pytest.fixture
def atlas(tmp_path: Path, picture_folder: Path) -> Atlas:
    """Return the finished atlas of a small network over the pictures."""
    from atlas.files import make_network
    from backlight import build

    path = tmp_path / "small.atlas"
    return build(make_network(), picture_folder, path, ["relu1", "relu2", "fc"], top=4, batch_size=16)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return a file of a tiny atlas with something in every table."""
    from fuzz.tiny import make_tiny_atlas

    make_tiny_atlas(tmp_path / "tiny.atlas")
    return tmp_path / "tiny.atlas"


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Return a file of an atlas that a build has begun."""
    from backlight.atlas.schema import writing

    path = tmp_path / "a.atlas"
    with writing(path) as connection:
        connection.execute("INSERT INTO meta VALUES ('identity', '{}')")
    return path


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for a lock."""
    from backlight.atlas import opening, schema
    from backlight.storage import locking

    monkeypatch.setattr(opening, "TIMEOUT_S", 0.0)
    monkeypatch.setattr(schema, "TIMEOUT_S", 0.0)
    monkeypatch.setattr(locking, "PATIENCE_S", 0.0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of 20 pictures."""
    from conftest import make_pictures

    return make_pictures(tmp_path / "pictures", 20)


@pytest.fixture
def path(tmp_path: Path, pictures: Path) -> Path:
    """Return the file of an atlas of three maps of each of two layers, with examples of bands."""
    from atlas.files import make_network
    from atlas.grown import ASKED
    from backlight import build

    found = tmp_path / "small.atlas"
    build(make_network(), pictures, found, ["relu1", "relu2"], maps=3, bands=True, **ASKED).close()
    return found
