import tarfile

import pytest

from backlight.errors import BacklightWarning, BadInputError, ImageError
from backlight.images import TarSource
from backlight.images.byte_files import LocalFile
from backlight.images.tar_index import index_of
from images.archives import png, write_tar


def test_members_lie_where_the_headers_say(tmp_path):
    shard = write_tar(tmp_path / "s.tar", [("b.png", b"one"), ("b.cls", b" 7 "), ("./a.png", b"three")])
    found = index_of(3, LocalFile(shard)).members
    with tarfile.open(shard) as tar:
        offsets = [tar.getmember(name).offset_data for name in ("b.png", "./a.png")]
    assert [(own.shard, own.name, own.n_bytes, own.label) for own in found] == [
        (3, "b.png", 3, "7"),
        (3, "a.png", 5, None),
    ]
    assert [own.offset for own in found] == offsets


def header(path, at, **changes):
    """Change fields of the header at a place of a shard and put its checksum right."""
    data = bytearray(path.read_bytes())
    fields = {"size": slice(124, 136), "typeflag": slice(156, 157), "name": slice(0, 100)}
    for field, value in changes.items():
        own = fields[field]
        data[at + own.start : at + own.stop] = value.ljust(own.stop - own.start, b"\0")
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (b"77777777777", "unexpected end of data"),
        (b"\x80" + (10**12).to_bytes(11, "big"), "unexpected end of data"),
        (b"\x80" + (10**25).to_bytes(11, "big"), "unexpected end of data|too large|maximum value"),
        (b"\xff" * 11 + b"\x00", "damaged header|negative|empty or invalid|invalid header|bad checksum"),
        (b"abc", "invalid header|damaged header"),
    ],
    ids=["8 GB", "1 TB", "beyond 64 bits", "negative", "no number"],
)
@pytest.mark.parametrize("at", [0, 1024], ids=["first", "second"])
@pytest.mark.parametrize("kind", [b"0", b"x", b"L"], ids=["file", "pax", "long name"])
def test_a_size_in_a_header_is_not_believed(tmp_path, size, message, at, kind):
    shard = write_tar(tmp_path / "s.tar", [("a.png", b"x" * 9), ("b.png", b"y" * 9)])
    header(shard, at, size=size, typeflag=kind)
    with pytest.raises(
        BadInputError, match=r"cannot read tar shard '.*s\.tar': .*; shards must be whole"
    ) as caught:
        TarSource("", [shard])
    assert "\n" not in str(caught.value)


def test_a_damaged_header_does_not_hide_the_images_behind_it(tmp_path):
    shard = write_tar(tmp_path / "s.tar", [("a.png", png()), ("b.png", png())])
    data = bytearray(shard.read_bytes())
    data[1024 + 5] ^= 1
    shard.write_bytes(data)
    with pytest.raises(BadInputError, match="damaged header at byte 1024"):
        TarSource("", [shard])


def test_a_second_archive_behind_the_first_is_told(tmp_path):
    one, two = (write_tar(tmp_path / f"{name}.tar", [(f"{name}.png", png())]) for name in "ab")
    both = tmp_path / "both.tar"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.warns(
        BacklightWarning, match=r"continues after its end mark at byte 1024, .* as separate files"
    ):
        assert len(TarSource("", [both])) == 1


def test_a_sparse_member_is_skipped_for_its_reason(tmp_path):
    shard = write_tar(tmp_path / "s.tar", [("a.png", png()), ("b.png", png(2))])
    header(shard, 0, typeflag=b"S")
    source = TarSource("", [shard])
    with pytest.raises(ImageError, match=r"^stored sparsely in the shard; pack it again as a plain archive$"):
        source.load(0)
    assert source.load(1).getpixel((0, 0)) == (2, 2, 2)
