"""Small files at an address: here a folder of this machine, and fsspec's file system in memory for all others."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from backlight.errors import BadInputError, StorageError
from backlight.storage.addresses import Folder


@pytest.fixture(params=["here", "elsewhere"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    address = tmp_path / "files" if request.param == "here" else f"memory://{tmp_path.name}/files"
    yield Folder(address)
    fsspec.filesystem("memory").store.clear()


def test_files_are_written_listed_read_replaced_and_removed(folder: Folder) -> None:
    assert folder.names() == []
    folder.write("b", b"two")
    folder.write("a", b"one")
    folder.write("b", b"three")
    assert folder.names() == ["a", "b"]
    assert [folder.read(name) for name in ("a", "b")] == [b"one", b"three"]
    folder.remove(["a", "a", "never there"])
    assert folder.names() == ["b"]
    with pytest.raises(FileNotFoundError):
        folder.read("a")


def test_another_process_reads_what_this_one_wrote(folder: Folder) -> None:
    folder.write("a", b"one")
    other: Folder = pickle.loads(pickle.dumps(folder))
    assert other.read("a") == b"one"
    other.write("b", b"two")
    assert folder.names() == ["a", "b"]


def test_an_empty_folder_is_removed_and_one_with_files_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "files")
    folder.remove_if_empty()
    folder.write("a", b"one")
    folder.remove_if_empty()
    assert (tmp_path / "files" / "a").is_file()
    folder.remove(["a"])
    folder.remove_if_empty()
    assert not (tmp_path / "files").exists()


def test_only_a_folder_of_this_machine_has_a_path(tmp_path: Path) -> None:
    assert Folder(tmp_path / "a").path == tmp_path / "a"
    assert Folder(f"file://{tmp_path}/a").path == tmp_path / "a"
    assert Folder("memory://run").path is None


def test_a_folder_that_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    folder = Folder(tmp_path / "file" / "below")
    with pytest.raises(StorageError, match=r"cannot write .*below.*; choose another place"):
        folder.write("a", b"one")
    with pytest.raises(StorageError, match=r"cannot read 'a' in .*below"):
        folder.read("a")


def test_an_address_of_an_unknown_kind_is_said() -> None:
    with pytest.raises(BadInputError, match=r"cannot use the address 'nowhere://a': Protocol not known"):
        Folder("nowhere://a")


def test_a_store_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, files = Folder("memory://run"), fsspec.filesystem("memory")

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("the bucket is gone\nwith details")

    for method in ("pipe_file", "cat_file", "ls"):
        monkeypatch.setattr(type(files), method, fails)
    with pytest.raises(StorageError, match=r"^cannot write 'memory://run/a' \(the bucket is gone\)"):
        folder.write("a", b"one")
    with pytest.raises(StorageError, match=r"^cannot read 'a' in 'memory://run' \(the bucket is gone\)$"):
        folder.read("a")
    with pytest.raises(StorageError, match=r"^cannot list 'memory://run' \(the bucket is gone\)$"):
        folder.names()
