"""Files are written whole or not at all, and a place that cannot be written is said before any work."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from backlight.errors import BadInputError, StorageError
from backlight.storage import check_folder, check_place, make_folder, replacing, sweep


@pytest.mark.parametrize("existing", [None, b"old"])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, existing: bytes | None
) -> None:
    path = tmp_path / "a.png"
    if existing is not None:
        path.write_bytes(existing)
    with (
        pytest.raises(
            StorageError, match=r"cannot write '.*a\.png' \(No space left on device\); choose another"
        ),
        replacing(path) as (fresh,),
    ):
        assert fresh.suffix == ".png"  # Pillow and matplotlib choose the format by it
        fresh.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [own.read_bytes() for own in tmp_path.iterdir()] == ([] if existing is None else [existing])


def test_the_fresh_file_is_on_the_disk_before_it_takes_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda *pair: (steps.append("replace"), replace(*pair))[1])
    with replacing(tmp_path / "a", tmp_path / "b") as fresh:
        for own in fresh:
            own.write_bytes(b"new")
    assert steps[:4] == [
        "fsync",
        "fsync",
        "replace",
        "replace",
    ]  # of two, neither is replaced before both are whole


def test_an_existing_file_keeps_its_permissions_and_a_link_its_target(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with replacing(link) as (fresh,):
        fresh.write_bytes(b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, link.is_symlink()) == (b"new", 0o640, True)
    plain = tmp_path / "plain"
    plain.touch()
    with replacing(tmp_path / "b"):
        pass
    assert (tmp_path / "b").stat().st_mode == plain.stat().st_mode


def test_what_a_kill_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    kept = [
        ".m.adn.new",
        ".m.adn.12345678.new.txt",
        ".other.adn.12345678.new.adn",
        "m.adn",
        "m.adn.12345678.new.adn",
    ]
    for name in (*kept, ".m.adn.12345678.new.adn"):
        (tmp_path / name).touch()
    (tmp_path / ".m.adn.0123abcd.new").mkdir()
    sweep(tmp_path / "m.adn")
    assert sorted(own.name for own in tmp_path.iterdir()) == sorted(kept)


def test_places_that_cannot_be_written_are_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_place(tmp_path / "a.png") == tmp_path / "a.png"
    with pytest.raises(BadInputError, match="is a folder; give the name of the picture to write"):
        check_place(tmp_path, "picture")
    with pytest.raises(BadInputError, match=r"no such folder: '.*no'; make it first"):
        check_place(tmp_path / "no" / "a.png")
    with pytest.raises(StorageError, match=r"cannot write '.*' \(File name too long\)"):
        check_place(tmp_path / ("x" * 300) / "a.png")
    with pytest.raises(StorageError, match="embedded null byte"):
        check_place("a\0.png")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anything
    with pytest.raises(StorageError, match=r"cannot write '.*a\.png' \(Permission denied\)"):
        check_place(tmp_path / "a.png")


def test_a_file_that_may_not_be_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda own, mode: Path(own) != path)
    with pytest.raises(StorageError, match="Permission denied"), replacing(path):
        pass
    assert path.read_bytes() == b"old"


def test_folders_to_write_into(tmp_path: Path) -> None:
    assert check_folder(tmp_path / "new" / "er") == tmp_path / "new" / "er"
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match=r"file' is a file; pictures are written into a folder"):
        check_folder(tmp_path / "file" / "in it")
    with pytest.raises(StorageError, match="cannot write"):
        make_folder(tmp_path / "file")
