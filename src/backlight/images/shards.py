"""Images in tar shards of the WebDataset layout: `key.jpg` beside `key.cls`."""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images.decode import decode_unnamed
from backlight.images.sources import IMAGE_SUFFIXES, ImageRecord, check_id, digest, is_image_name, printable

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAX_LABEL_BYTES = 1024


@dataclass(frozen=True, slots=True)
class _Member:
    """Where an image lies: which shard, the member's name, where its bytes start and how many, its label."""

    shard: int
    name: str
    offset: int
    n_bytes: int
    label: str | None


@final
class TarSource:
    """The images in one or more .tar files, read in any order by their offsets.

    Convention:
        Shards in the order given, and the images of a shard in the order in which they lie in it. The
        record's path is the shard's path, relative to the folder that all shards share, then the member's.
    """

    def __init__(self, name: str, shards: Sequence[Path]) -> None:
        """Read the headers of all shards; the images stay where they are.

        Args:
            name: For people.
            shards: Uncompressed .tar files. `key.cls`, where there is one, is the label of `key.jpg`; the key
                of a member is its name up to the first dot of the last part.

        Raises:
            BadInputError: No shards, one that is missing, compressed or damaged, or no image in any of them.
        """
        if not shards:
            raise BadInputError(f"no tar shards in {name!r}; give a .tar file, a pattern or a folder of them")
        self._shards = tuple(Path(shard).absolute() for shard in shards)
        self._members = tuple(m for i, shard in enumerate(self._shards) for m in _index(i, shard))
        if not self._members:
            raise BadInputError(
                f"no image in the tar shards of {name!r}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        root = os.path.commonpath([shard.parent for shard in self._shards])
        prefixes = [shard.relative_to(root).as_posix() for shard in self._shards]
        self.name = name
        self.records = tuple(
            ImageRecord(i, printable(f"{prefixes[m.shard]}/{m.name}"), m.label)
            for i, m in enumerate(self._members)
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._members)

    def load(self, image_id: int) -> Image.Image:
        """Return the decoded image; see `ImageSource.load`."""
        check_id(image_id, self)
        member = self._members[image_id]
        # Opened anew each time: no position is shared between threads and no descriptor kept.
        try:
            with self._shards[member.shard].open("rb") as stream:
                stream.seek(member.offset)
                encoded = stream.read(member.n_bytes)
        except OSError as error:
            raise ImageError(f"the shard cannot be read: {error.strerror}") from error
        return decode_unnamed(encoded)

    def fingerprint(self) -> str:
        """Return the hash of names and sizes; see `ImageSource.fingerprint`."""
        return digest(
            (record.path, member.n_bytes) for record, member in zip(self.records, self._members, strict=True)
        )


def _index(shard_index: int, shard: Path) -> list[_Member]:
    images: list[tarfile.TarInfo] = []
    labels: dict[str, str] = {}
    try:
        with tarfile.open(shard, "r:") as tar:  # "r:" refuses compression, which allows no offsets
            for info in tar:
                key, kind = _key(info)
                if not info.isreg() or key.endswith("/"):  # a hidden file: nothing before its first dot
                    continue
                if kind == "cls":
                    labels[key] = _label(tar, info)
                elif is_image_name(info.name):
                    images.append(info)
    except (OSError, tarfile.TarError) as error:
        raise BadInputError(
            f"cannot read tar shard '{shard}': {getattr(error, 'strerror', None) or error}; "
            "shards must be whole and uncompressed"
        ) from error
    return [
        _Member(
            shard_index, info.name.removeprefix("./"), info.offset_data, info.size, labels.get(_key(info)[0])
        )
        for info in images
    ]


def _key(info: tarfile.TarInfo) -> tuple[str, str]:
    """Return the key of the sample that a member belongs to, its folder included, and the member's kind."""
    folder, _, base = info.name.rpartition("/")
    key, _, kind = base.partition(".")
    return f"{folder}/{key}", kind.lower()


def _label(tar: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    stream = tar.extractfile(info)
    return stream.read(_MAX_LABEL_BYTES).decode("utf-8", "replace").strip() if stream else ""


def find_shards(pattern: str) -> list[Path]:
    """Return the .tar files that a pattern stands for.

    Args:
        pattern: A path with `{000..012}` or `{a,b}` in it, or with `*`, `?` and `[...]`.

    Returns:
        The files that braces name, in the order of the braces, whether they exist or not, each glob among
        them replaced by what it finds, sorted.

    Example:
        >>> [path.name for path in find_shards("train-{08..10}.tar")]
        ['train-08.tar', 'train-09.tar', 'train-10.tar']
    """
    found: list[Path] = []
    for path in _expand(pattern):
        found += map(Path, sorted(glob.glob(path, recursive=True))) if glob.has_magic(path) else [Path(path)]  # noqa: PTH207
    return found


def _expand(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    span = _RANGE.fullmatch(braces[1])
    if span:
        first, last = int(span[1]), int(span[2])
        choices = [f"{i:0{len(span[1])}d}" for i in range(first, last + 1)]
    else:
        choices = braces[1].split(",")
    for choice in choices:
        yield from _expand(pattern[: braces.start()] + choice + pattern[braces.end() :])
