"""Image files of which some or all are at addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import final

from backlight.errors import BadInputError, ImageError
from backlight.images.addresses import is_address, is_web, joined, scheme_of, without_secrets
from backlight.images.byte_files import several_at_once
from backlight.images.decode import decode_unnamed
from backlight.images.deep import Picture
from backlight.images.sources import ImageRecord, check_id, digest, storable
from backlight.images.stores import Sizes, Store, check_installed

_WORTH_A_LIST = 32


@final
class AddressSource:
    """Image files of a folder of a store, or of a list of which some entries are addresses; one request an image.

    Convention:
        An entry is an address, an absolute path of this machine, or relative to the folder. As for `FileSource`, the
        record's path is the entry as it was given, but without passwords and signatures, which nothing should store.
    """

    def __init__(
        self,
        name: str,
        root: Path | tuple[Store, str],
        files: Sequence[str],
        labels: Sequence[str | None] | None = None,
        sizes: Sequence[int | None] | None = None,
    ) -> None:
        """Take the files in the order given.

        Args:
            name: Shown to the user.
            root: What relative entries are relative to: a folder of this machine, or of a store.
            files: One entry each. They need not exist: `load` reports those that do not.
            labels: The class of each, or None where it has none.
            sizes: The number of bytes of each, where a list of the store has told them; those of all are asked for
                when they are needed where one is None.

        Raises:
            BadInputError: A package is missing that reads such addresses.
        """
        for example in {scheme_of(file): file for file in files if is_address(file)}.values():
            check_installed(example)
        self.name, self._root, self._files = name, root, tuple(files)
        self.records = tuple(
            ImageRecord(i, storable(self._shown(file)), None if labels is None else labels[i])
            for i, file in enumerate(self._files)
        )
        self._sizes = None if sizes is None or None in sizes else tuple(sizes)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def load(self, image_id: int) -> Picture:
        """Return the decoded image; see `ImageSource.load`."""
        check_id(image_id, self)
        try:
            place = self._place(self._files[image_id])
        except BadInputError as error:
            raise ImageError(str(error)) from error
        if isinstance(place, Path):
            return decode_unnamed(place)
        store, path = place
        return decode_unnamed(store.read_whole(path, None if self._sizes is None else self._sizes[image_id]))

    def fingerprint(self) -> str:
        """Return the hash of names and sizes; see `ImageSource.fingerprint`.

        What is missing, or of which the store does not tell the size, counts as -1. The stores are asked the first
        time; from then on `load` takes an image of another size for a wrong answer.
        """
        if self._sizes is None:
            self._sizes = tuple(self._found_sizes())
        return digest(
            (self._shown(file), -1 if size is None else size)
            for file, size in zip(self._files, self._sizes, strict=True)
        )

    def _shown(self, file: str) -> str:
        """Return an entry without passwords and signatures."""
        if is_address(file):
            return without_secrets(file)
        may_be_signed = not isinstance(self._root, Path) and is_web(self._root[1])
        return file.partition("?")[0] if may_be_signed else file

    def _place(self, file: str) -> Path | tuple[Store, str]:
        if is_address(file):
            return Store.of(file)
        if isinstance(self._root, Path):
            return self._root / file
        if file.startswith("/") or PureWindowsPath(file).is_absolute():
            return Path(file)
        store, folder = self._root
        return store, joined(folder, file)

    def _found_sizes(self) -> list[int | None]:
        """Return the sizes: from lists of folders that hold many of the files, else asked for one by one."""
        places = [self._place(file) for file in self._files]
        sizes = [_local_size(place) if isinstance(place, Path) else None for place in places]
        remote = {i: place for i, place in enumerate(places) if not isinstance(place, Path)}
        by_folder = defaultdict[tuple[Store, str], list[int]](list)
        for i, (store, path) in remote.items():
            by_folder[store, path.rpartition("/")[0]].append(i)
        many = [folder for folder, inside in by_folder.items() if len(inside) >= _WORTH_A_LIST]
        for folder, listed in zip(many, several_at_once(_listed, many), strict=True):
            for i in by_folder[folder]:
                sizes[i] = listed.get(remote[i][1])
        unknown = [i for i in remote if sizes[i] is None]
        for i, size in zip(unknown, several_at_once(_asked_size, [remote[i] for i in unknown]), strict=True):
            sizes[i] = size
        return sizes


def _listed(folder: tuple[Store, str]) -> Sizes:
    store, path = folder
    try:
        return store.files_in(path)
    except ImageError:  # many web servers give no lists
        return {}


def _asked_size(file: tuple[Store, str]) -> int | None:
    store, path = file
    try:
        found = store.find(path)
    except ImageError:
        return None
    return None if found is None else found.n_bytes


def _local_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError: a name with a null byte
        return -1
