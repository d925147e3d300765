"""From an address to the source that reads what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backlight.errors import BadInputError, ImageError
from backlight.images.addresses import has_stars, joined, without_query, without_secrets
from backlight.images.blocks import Blocks, RemoteFile
from backlight.images.byte_files import several_at_once
from backlight.images.files import LIST_SUFFIXES, check_list_size, listed
from backlight.images.mixtures import (
    Packed,
    kind_of_all,
    mixed_with_images,
    packed_kind,
    packed_source,
    packed_suffix,
)
from backlight.images.patterns import check_number, expanded
from backlight.images.remote_files import AddressSource
from backlight.images.sources import (
    IMAGE_SUFFIXES,
    ImageSource,
    choose_pictures,
    is_array_name,
    is_image_name,
)
from backlight.images.stores import Sizes, Store

_SAVED_DATASET = {"state.json", "dataset_dict.json"}


def open_address(address: str) -> ImageSource:
    """Return the source that reads what is at an address of a kind that fsspec knows.

    Args:
        address: A folder of images, of .tar or of .parquet files, one such file or a pattern of them, a list file or
            an image. One that ends in "/" is a folder.

    Raises:
        BadInputError: A package is missing, there is nothing, it cannot be listed or read, or there is no image in it.
    """
    name = without_secrets(address)
    store, path = Store.of(address)
    try:
        found = store.find(path)
        if found is None and (has_stars(path) or "{" in path):
            return _open_pattern(store, path, name)
        if found is None:
            raise BadInputError(f"there is nothing at '{name}', or you may not see it; check the address")
        if found.kind == "folder" or address.endswith("/"):
            return _open_folder(store, path, name)
        return _open_file(store, path, found.n_bytes, name)
    except ImageError as error:  # a BadInputError too, but one that does not say where
        raise BadInputError(f"cannot read '{name}': {error}") from error


def _open_folder(store: Store, folder: str, name: str) -> ImageSource:
    below = {file: size for file, size in store.files_below(folder).items() if not _is_hidden(file)}
    here = [file for file in below if "/" not in file]
    if _SAVED_DATASET & {*here}:
        raise BadInputError(
            f"'{name}' is a Hugging Face dataset as `save_to_disk` writes it, which is read from a local disk only; "
            "copy it to this machine, or write it with `to_parquet` and give the folder of the .parquet files"
        )
    kind = packed_kind(here, name.rstrip("/"))
    pictures = [file for file in below if is_image_name(file) or is_array_name(file)]
    if kind is not None:
        if any(map(is_image_name, pictures)):
            raise mixed_with_images(name.rstrip("/"), kind)
        chosen = {joined(folder, file): below[file] for file in here if packed_suffix(file) == kind}
        return packed_source(kind, name, _remote_files(store, chosen, kind))
    if not pictures:
        raise BadInputError(f"no image in folder '{name}'; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
    files = [pictures[i] for i in choose_pictures(pictures, name)]
    labels = [file.split("/", 1)[0] if "/" in file else None for file in files]
    return AddressSource(name, (store, folder), files, labels, [below[file] for file in files])


def _open_file(store: Store, path: str, n_bytes: int | None, name: str) -> ImageSource:
    folder, _, file = without_query(path).rpartition("/")
    kind = packed_suffix(file)
    if kind is not None:
        return packed_source(kind, name, _remote_files(store, {path: n_bytes}, kind))
    suffix = file[file.rfind(".") :].lower()
    if suffix in LIST_SUFFIXES:
        check_list_size(n_bytes or 0, name)
        files, labels = listed(store.read_whole(path, n_bytes), suffix, name)
        return AddressSource(name, (store, folder), files, labels)
    if is_image_name(file) or is_array_name(file):
        return AddressSource(name, (store, folder), [path.removeprefix(f"{folder}/")], sizes=[n_bytes])
    raise BadInputError(
        f"'{name}' is neither an image, a list ({', '.join(sorted(LIST_SUFFIXES))}) nor a .tar or .parquet file; "
        "a folder whose store has no folders ends in '/'"
    )


def _open_pattern(store: Store, pattern: str, name: str) -> ImageSource:
    found: dict[str, int | None] = {}
    for path in expanded(pattern):
        found |= store.matching(path) if has_stars(path) else {path: None}
        check_number([*found], name)
    kind = kind_of_all([without_query(path) for path in found], name)
    return packed_source(kind, name, _remote_files(store, found, kind))


def _remote_files(store: Store, sizes: Mapping[str, int | None], kind: Packed) -> Sequence[RemoteFile]:
    """Return files to be read in parts; those whose size is not known are asked for it."""
    # Parquet's own reader asks for large parts by itself.
    blocks = Blocks(store) if kind == ".tar" else None
    unknown = [path for path, size in sizes.items() if size is None]
    asked: Sizes = dict(zip(unknown, several_at_once(lambda path: _size(store, path), unknown), strict=True))
    return [RemoteFile(store, path, asked.get(path, size) or 0, blocks) for path, size in sizes.items()]


def _size(store: Store, path: str) -> int:
    try:
        found = store.find(path)
    except ImageError as error:
        raise BadInputError(f"cannot read '{store.address(path)}': {error}") from error
    if found is None:
        raise BadInputError(f"cannot read '{store.address(path)}': no such file")
    if found.n_bytes is None:
        raise BadInputError(
            f"the store does not tell the size of '{store.address(path)}', so it cannot be read in parts; "
            "copy it to this machine"
        )
    return found.n_bytes


def _is_hidden(file: str) -> bool:
    return any(part.startswith(".") for part in file.split("/"))
