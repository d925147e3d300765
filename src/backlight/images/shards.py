"""Images in tar shards of the WebDataset layout: `key.jpg` beside `key.cls`."""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast, final

from backlight.errors import BacklightWarning, BadInputError, ImageError, tell
from backlight.images.decode import decode_unnamed
from backlight.images.deep import Picture
from backlight.images.files import folders_below
from backlight.images.sources import (
    IMAGE_SUFFIXES,
    ImageRecord,
    check_id,
    choose_pictures,
    cuts_between,
    digest,
    is_array_name,
    is_image_name,
    storable,
)
from backlight.text import one_line

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_MAX_LABEL_BYTES = 1024
_MOST_FILES = 100_000
_MOST_BRACES = 32
_BLOCK_BYTES = 512
_TAIL_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class _Member:
    """Where an image lies: which shard, the member's name, where its bytes start and how many, its label.

    One that is stored with holes left out (GNU sparse) cannot be read by its offset.
    """

    shard: int
    name: str
    offset: int
    n_bytes: int
    label: str | None
    is_sparse: bool


@final
class TarSource:
    """The images in one or more .tar files, read in any order by their offsets.

    Convention:
        Shards in the order given, and the images of a shard in the order in which they lie in it. The
        record's path is the shard's path, relative to the folder that all shards share, then the member's.

    Attributes:
        cuts: The ids at which a new shard begins, without 0; a shard without images has none.
    """

    def __init__(self, name: str, shards: Sequence[Path]) -> None:
        """Read the headers of all shards; the images stay where they are.

        Args:
            name: Shown to the user.
            shards: Uncompressed .tar files. `key.cls`, where there is one, is the label of `key.jpg`; the key
                of a member is its name up to the first dot of the last part.

        Raises:
            BadInputError: No shards, one that is missing, compressed or damaged, or no image in any of them. A header
                that tells of more bytes than the file has is damage.
        """
        if not shards:
            raise BadInputError(f"no tar shards in {name!r}; give a .tar file, a pattern or a folder of them")
        self._shards = tuple(Path(shard).absolute() for shard in shards)
        found = [member for i, shard in enumerate(self._shards) for member in _index(i, shard)]
        self._members = tuple(found[i] for i in choose_pictures([member.name for member in found], name))
        if not self._members:
            raise BadInputError(
                f"no image in the tar shards of {name!r}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        self.cuts = cuts_between(member.shard for member in self._members)
        root = os.path.commonpath([shard.parent for shard in self._shards])
        prefixes = [shard.relative_to(root).as_posix() for shard in self._shards]
        self.name = name
        self.records = tuple(
            ImageRecord(i, storable(f"{prefixes[m.shard]}/{m.name}"), m.label)
            for i, m in enumerate(self._members)
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._members)

    def load(self, image_id: int) -> Picture:
        """Return the decoded image; see `ImageSource.load`."""
        check_id(image_id, self)
        member = self._members[image_id]
        if member.is_sparse:
            raise ImageError("stored sparsely in the shard; pack it again as a plain archive")
        # Opened each time: threads share no position, and no descriptor is kept open.
        try:
            with self._shards[member.shard].open("rb") as stream:
                stream.seek(member.offset)
                encoded = _Bounded(stream, self._shards[member.shard].stat().st_size).read(member.n_bytes)
        except OSError as error:
            raise ImageError(f"the shard cannot be read: {error.strerror}") from error
        return decode_unnamed(encoded)

    def fingerprint(self) -> str:
        """Return the hash of names and sizes; see `ImageSource.fingerprint`."""
        return digest(
            (record.path, member.n_bytes) for record, member in zip(self.records, self._members, strict=True)
        )


class _Bounded:
    """A file that is never asked for more bytes than it has: a tar header may announce terabytes."""

    def __init__(self, stream: BinaryIO, n_bytes: int) -> None:
        self._stream, self._n_bytes = stream, n_bytes
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, n: int) -> bytes:
        """Return at most n bytes."""
        return self._stream.read(max(0, min(n, self._n_bytes - self._stream.tell())))


def _index(shard_index: int, shard: Path) -> list[_Member]:
    images: list[tarfile.TarInfo] = []
    labels: dict[str, str] = {}
    try:
        n_bytes = shard.stat().st_size
        with shard.open("rb") as stream:
            # "r:" refuses compression, which allows no offsets
            with tarfile.open(fileobj=cast(BinaryIO, _Bounded(stream, n_bytes)), mode="r:") as tar:
                for info in _members(tar, n_bytes):
                    key, kind = _key(info)
                    if not info.isreg() or key.endswith("/"):  # a hidden file: nothing before its first dot
                        continue
                    if kind == "cls":
                        labels[key] = _label(tar, info)
                    elif is_image_name(info.name) or is_array_name(info.name):
                        images.append(info)
            _check_end(stream, shard, tar.offset)
    # On damaged headers the reader lets anything out: ValueError, OverflowError, RecursionError.
    except Exception as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise BadInputError(
            f"cannot read tar shard '{shard}': {reason}; shards must be whole and uncompressed"
        ) from error
    return [
        _Member(
            shard_index,
            info.name.removeprefix("./"),
            info.offset_data,
            info.size,
            labels.get(_key(info)[0]),
            info.issparse(),
        )
        for info in images
    ]


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


def _check_end(stream: BinaryIO, shard: Path, at: int) -> None:
    """Check what follows the last member: at a damaged header or a second archive the reader stops silently.

    Args:
        stream: The shard.
        shard: Its path, for messages.
        at: Where the reader stopped.
    """
    stream.seek(at)
    if stream.read(_BLOCK_BYTES).strip(b"\0"):
        raise tarfile.ReadError(f"damaged header at byte {at}")
    if stream.read(_TAIL_BYTES).strip(b"\0"):
        tell(
            BacklightWarning(
                f"tar shard '{shard}' continues after its end mark at byte {at}, which is not read; "
                "give concatenated archives as separate files"
            )
        )


def _key(info: tarfile.TarInfo) -> tuple[str, str]:
    """Return the key of the sample that a member belongs to, its folder included, and the member's kind."""
    folder, _, base = info.name.rpartition("/")
    key, _, kind = base.partition(".")
    return f"{folder}/{key}", kind.lower()


def _label(tar: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    stream = tar.extractfile(info)
    return stream.read(_MAX_LABEL_BYTES).decode("utf-8", "replace").strip() if stream else ""


def find_shards(pattern: str) -> list[Path]:
    """Return the .tar files that a pattern matches.

    Args:
        pattern: A path with `{000..012}` or `{a,b}` in it, or with `*`, `?` and `[...]`.

    Returns:
        The files that braces name, in the order of the braces, whether they exist or not, each glob among
        them replaced by what it finds, sorted.

    Raises:
        BadInputError: It matches more than 100,000 files.

    Example:
        >>> [path.name for path in find_shards("train-{08..10}.tar")]
        ['train-08.tar', 'train-09.tar', 'train-10.tar']
    """
    if pattern.count("{") > _MOST_BRACES:
        raise BadInputError(f"the pattern has more than {_MOST_BRACES} braces; give the shards as a folder")
    found: list[Path] = []
    for path in _expand(pattern):
        if len(found) >= _MOST_FILES:
            raise BadInputError(
                f"the pattern '{pattern}' matches more than {_MOST_FILES} files; check the numbers in its braces"
            )
        found += map(Path, sorted(_globbed(path))) if glob.has_magic(path) else [Path(path)]
    return found


def _globbed(pattern: str) -> set[str]:
    """Return the paths that a pattern finds; `**` is any number of folders, and no link to a folder above is followed.

    `glob` follows such links again and again: with two of them in a folder it would never end.
    """
    parts = Path(pattern).parts
    if "**" not in parts:
        return set(glob.glob(pattern))  # noqa: PTH207
    at = parts.index("**")
    tops = glob.glob(str(Path(*parts[:at])))  # noqa: PTH207
    rest = parts[at + 1 :] or ("*",)
    folders = (folder for top in tops if Path(top).is_dir() for folder in folders_below(Path(top)))
    return set().union(*(_globbed(str(Path(glob.escape(str(folder)), *rest))) for folder in folders))


def _expand(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    span = _RANGE.fullmatch(braces[1])
    choices: Iterable[str] = braces[1].split(",")
    if span:
        width = len(span[1])
        choices = (f"{i:0{width}d}" for i in range(int(span[1]), int(span[2]) + 1))
    for choice in choices:
        yield from _expand(pattern[: braces.start()] + choice + pattern[braces.end() :])
