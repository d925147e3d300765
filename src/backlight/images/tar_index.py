"""Where the images of a tar shard lie, and their labels, from the headers alone."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, cast

from backlight.errors import BacklightWarning, BadInputError, ImageError, tell
from backlight.images.byte_files import ByteFile, Stream
from backlight.images.class_names import CLASSES_FILE, MOST_BYTES, lines_of
from backlight.images.sources import is_array_name, is_image_name
from backlight.text import one_line

_MAX_LABEL_BYTES = 1024
_BLOCK_BYTES = 512
_TAIL_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Member:
    """Where an image lies: which shard, the member's name, where its bytes start and how many, its label.

    One that is stored with holes left out (GNU sparse) cannot be read by its offset.
    """

    shard: int
    name: str
    offset: int
    n_bytes: int
    label: str | None
    is_sparse: bool


class _Bounded:
    """A file that is never asked for more bytes than it has: a tar header may announce terabytes."""

    def __init__(self, stream: Stream, n_bytes: int) -> None:
        self._stream, self._n_bytes = stream, n_bytes
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, n: int) -> bytes:
        """Return at most n bytes."""
        return self._stream.read(max(0, min(n, self._n_bytes - self._stream.tell()))) or b""


@dataclass(frozen=True)
class Index:
    """What is known of a shard.

    Attributes:
        members: Its images, in the order in which they lie in it.
        classes: The names of the classes, where a file `classes.txt` lies in it.
    """

    members: list[Member]
    classes: tuple[str, ...]


def index_of(shard_index: int, shard: ByteFile) -> Index:
    """Return what is known of a shard from its headers and its small files.

    Args:
        shard_index: Its position in the set.
        shard: An uncompressed .tar file.

    Raises:
        BadInputError: It is missing, compressed or damaged, or a store does not give it.
    """
    images: list[tarfile.TarInfo] = []
    labels: dict[str, str] = {}
    classes: tuple[str, ...] = ()
    try:
        n_bytes = shard.size()
        with shard.open() as stream:
            # "r:" refuses compression, which allows no offsets
            with tarfile.open(fileobj=cast(BinaryIO, _Bounded(stream, n_bytes)), mode="r:") as tar:
                for info in _members(tar, n_bytes):
                    key, kind = _key(info)
                    if not info.isreg() or key.endswith("/"):  # a hidden file: nothing before its first dot
                        continue
                    if info.name.rpartition("/")[2] == CLASSES_FILE:
                        classes = _classes(tar, info)
                    elif kind == "cls":
                        labels[key] = _label(tar, info)
                    elif is_image_name(info.name) or is_array_name(info.name):
                        images.append(info)
            _check_end(stream, shard, tar.offset)
    except ImageError as error:  # no answer from a store, which says nothing about the shard
        raise BadInputError(f"cannot read tar shard '{shard.name}': {error}") from error
    # On damaged headers the reader lets anything out: ValueError, OverflowError, RecursionError.
    except Exception as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise BadInputError(
            f"cannot read tar shard '{shard.name}': {reason}; shards must be whole and uncompressed"
        ) from error
    members = [
        Member(
            shard_index,
            info.name.removeprefix("./"),
            info.offset_data,
            info.size,
            labels.get(_key(info)[0]),
            info.issparse(),
        )
        for info in images
    ]
    return Index(members, classes)


def _members(tar: tarfile.TarFile, n_bytes: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members, refusing headers that lead backwards or past the end of the file."""
    reached = -1
    for info in tar:
        if info.size < 0 or info.offset_data <= reached:
            raise tarfile.ReadError(f"damaged header at byte {info.offset}")
        if info.isreg() and not info.issparse() and info.offset_data + info.size > n_bytes:
            left = n_bytes - info.offset_data
            raise tarfile.ReadError(
                f"unexpected end of data: the header at byte {info.offset} announces {info.size} bytes, {left} follow"
            )
        reached = info.offset_data
        yield info


def _check_end(stream: Stream, shard: ByteFile, at: int) -> None:
    """Check what follows the last member: at a damaged header or a second archive the reader stops silently.

    Args:
        stream: The open shard.
        shard: Itself, for its name.
        at: Where the reader stopped.
    """
    stream.seek(at)
    if (stream.read(_BLOCK_BYTES) or b"").strip(b"\0"):
        raise tarfile.ReadError(f"damaged header at byte {at}")
    if (stream.read(_TAIL_BYTES) or b"").strip(b"\0"):
        tell(
            BacklightWarning(
                f"tar shard '{shard.name}' continues after its end mark at byte {at}, which is not read; "
                "give concatenated archives as separate files"
            )
        )


def _key(info: tarfile.TarInfo) -> tuple[str, str]:
    """Return the key of the sample that a member belongs to, its folder included, and the member's kind."""
    folder, _, base = info.name.rpartition("/")
    key, _, kind = base.partition(".")
    return f"{folder}/{key}", kind.lower()


def _classes(tar: tarfile.TarFile, info: tarfile.TarInfo) -> tuple[str, ...]:
    """Return the names in a file of classes; none where it is too long or is not text."""
    stream = tar.extractfile(info) if info.size <= MOST_BYTES else None
    with suppress(UnicodeDecodeError):
        return lines_of(stream.read(MOST_BYTES)) if stream else ()
    return ()


def _label(tar: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    stream = tar.extractfile(info)
    return stream.read(_MAX_LABEL_BYTES).decode("utf-8", "replace").strip() if stream else ""
