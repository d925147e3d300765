"""Images in tar shards of the WebDataset layout: `key.jpg` beside `key.cls`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import final

from backlight.errors import BadInputError, ImageError
from backlight.images.byte_files import ByteFile, LocalFile, as_byte_files, below_shared_folder, of_each
from backlight.images.class_names import CLASSES_FILE, MOST_BYTES, lines_of, named
from backlight.images.decode import decode_unnamed
from backlight.images.deep import Picture
from backlight.images.sources import (
    IMAGE_SUFFIXES,
    ImageRecord,
    check_id,
    choose_pictures,
    digest,
    storable,
)
from backlight.images.tar_index import index_of


@final
class TarSource:
    """The images in one or more .tar files, read in any order by their offsets.

    Convention:
        Shards in the order given, and the images of a shard in the order in which they lie in it. The
        record's path is the shard's path, relative to the folder that all shards share, then the member's.
    """

    def __init__(self, name: str, shards: Sequence[Path | ByteFile]) -> None:
        """Read the headers of all shards; the images stay where they are.

        Args:
            name: Shown to the user.
            shards: Uncompressed .tar files, on this machine or remote. `key.cls`, where there is one, is the label of
                `key.jpg`; the key of a member is its name up to the first dot of the last part. Labels that are
                numbers are named by the lines of `classes.txt`, in a shard or beside the shards on this machine.

        Raises:
            BadInputError: No shards, one that is missing, compressed or damaged or that a store does not give, or no
                image in any of them. A header that tells of more bytes than the file has is damage.
        """
        if not shards:
            raise BadInputError(f"no tar shards in {name!r}; give a .tar file, a pattern or a folder of them")
        self._shards = as_byte_files(shards)
        indexes = of_each(self._shards, index_of)
        found = [member for own in indexes for member in own.members]
        self._members = tuple(found[i] for i in choose_pictures([member.name for member in found], name))
        if not self._members:
            raise BadInputError(
                f"no image in the tar shards of {name!r}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        prefixes = below_shared_folder(self._shards)
        self.name = name
        self.class_names = next((own.classes for own in indexes if own.classes), ()) or _beside(self._shards)
        names = {str(i): own for i, own in enumerate(self.class_names)}
        self.records = tuple(
            ImageRecord(i, storable(f"{prefixes[m.shard]}/{m.name}"), named(m.label, names))
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
        try:
            encoded = self._shards[member.shard].read(member.offset, member.n_bytes)
        except ImageError as error:
            raise ImageError(f"the shard cannot be read: {error}") from error
        return decode_unnamed(encoded)

    def fingerprint(self) -> str:
        """Return the hash of names and sizes; see `ImageSource.fingerprint`."""
        return digest(
            (record.path, member.n_bytes) for record, member in zip(self.records, self._members, strict=True)
        )


def _beside(shards: Sequence[ByteFile]) -> tuple[str, ...]:
    """Return the names in the file of classes in the folder of shards; none where there is none, or no text."""
    for shard in shards:
        if isinstance(shard, LocalFile):
            path = shard.path.parent / CLASSES_FILE
            with suppress(OSError, UnicodeDecodeError), path.open("rb") as stream:
                return lines_of(stream.read(MOST_BYTES))
    return ()
