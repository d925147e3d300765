"""Small files at an address: a folder of this machine, or anywhere that fsspec reaches (`s3://bucket/run`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

from backlight.errors import BadInputError, StorageError, first_line
from backlight.storage.writing import make_folder, replacing, unwritable


@final
class Folder:
    """A folder of small files at an address; can be pickled, and be used by many processes at once.

    A file is written whole or not at all, wherever it is: on this machine under another name first, elsewhere as one
    object.

    Args:
        address: A path, or an address that fsspec knows. Nothing is made before the first file is written.

    Attributes:
        address: As it was given.

    Raises:
        BadInputError: No such kind of address, or what reads it is not installed.
    """

    def __init__(self, address: Path | str) -> None:
        import fsspec

        self.address = str(address)
        try:
            files, place = fsspec.core.url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise BadInputError(f"cannot use the address {self.address!r}: {first_line(error)}") from error
        self._files: Any = files
        self._place: str = place.rstrip("/")
        self._is_here = "file" in (files.protocol if isinstance(files.protocol, tuple) else (files.protocol,))

    @property
    def path(self) -> Path | None:
        """The folder, where it is one of this machine's own file system."""
        return Path(self._place) if self._is_here else None

    def names(self) -> list[str]:
        """Return the names of the files, sorted; none where there is no such folder."""
        self._files.invalidate_cache(self._place)  # other machines write here too
        with self._reading("list"):
            try:
                found = self._files.ls(self._place, detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(own).rpartition("/")[2] for own in found)

    def read(self, name: str) -> bytes:
        """Return what a file holds.

        Raises:
            StorageError: It cannot be read, or is not there.
        """
        with self._reading(f"read {name!r} in"):
            return bytes(self._files.cat_file(f"{self._place}/{name}"))

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or replace it.

        Raises:
            StorageError: It cannot be written.
        """
        path = self.path
        if path is not None:
            make_folder(path)
            with replacing(path / name) as (fresh,):
                fresh.write_bytes(data)
            return
        try:
            self._files.pipe_file(f"{self._place}/{name}", data)
        # The stores' libraries have no common base for what they raise.
        except Exception as error:
            raise unwritable(f"{self.address}/{name}", error) from error

    def remove(self, names: list[str]) -> None:
        """Remove files; one that is gone already is no error."""
        for name in names:
            with suppress(FileNotFoundError), self._reading(f"remove {name!r} in"):
                self._files.rm_file(f"{self._place}/{name}")

    def remove_if_empty(self) -> None:
        """Remove the folder where nothing is left in it; elsewhere than on this machine there are no folders."""
        if self.path is not None:
            with suppress(OSError):
                self.path.rmdir()

    @contextmanager
    def _reading(self, task: str) -> Iterator[None]:
        try:
            yield
        except (StorageError, FileNotFoundError):
            raise
        except Exception as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise StorageError(f"cannot {task} {self.address!r} ({reason})") from error
