import io
import pickle
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from backlight.errors import BacklightWarning, BadInputError, ImageError
from backlight.images import ImageSource, TarSource
from backlight.images.shards import find_shards


def png(level=0, size=(4, 3)):
    stream = io.BytesIO()
    Image.new("RGB", size, (level,) * 3).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path, members, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def rows(source):
    return [(record.id, record.path, record.label) for record in source.records]


def test_images_and_labels_in_the_order_of_the_archive(tmp_path):
    shard = write_tar(
        tmp_path / "s.tar",
        [
            ("b.png", png(1)),
            ("b.cls", b"7\n"),
            ("a.cls", b"cat"),  # a label may stand before its image
            ("a.PNG", png(2)),
            ("dir.v1/a.png", png(3)),  # the same name elsewhere is another sample
            ("dir.v1/c.d.png", png(4)),
            ("dir.v1/c.cls", "señal".encode()),
            ("a.json", b"{}"),
            ("._b.png", b"junk of a Mac"),
        ],
    )
    source = TarSource("set", [shard])
    assert isinstance(source, ImageSource)
    assert rows(source) == [
        (0, "s.tar/b.png", "7"),
        (1, "s.tar/a.PNG", "cat"),
        (2, "s.tar/dir.v1/a.png", None),
        (3, "s.tar/dir.v1/c.d.png", "señal"),
    ]
    assert [source.load(i).getpixel((0, 0))[0] for i in (3, 0, 2, 1)] == [4, 1, 3, 2]
    assert (source.name, len(source)) == ("set", 4)
    with pytest.raises(BadInputError, match=r"image id 4 is out of range for 'set' \(4 images"):
        source.load(4)


def test_what_is_no_file_is_passed_over(tmp_path):
    shard = write_tar(tmp_path / "s.tar", [("./a.png", png(1)), ("./a.cls", b"x")])
    with tarfile.open(shard, "a") as tar:
        for name, kind in (("dir.png", tarfile.DIRTYPE), ("link.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.png"
            tar.addfile(info)
    assert rows(TarSource("", [shard])) == [(0, "s.tar/a.png", "x")]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_every_format_of_tar(tmp_path, form):
    name = "d" * 90 + "/" + "n" * 90 + ".png"
    with tarfile.open(tmp_path / "s.tar", "w", format=form) as tar:
        info = tarfile.TarInfo(name)
        info.size = len(png(9))
        tar.addfile(info, io.BytesIO(png(9)))
    source = TarSource("", [tmp_path / "s.tar"])
    assert source.records[0].path == f"s.tar/{name}"
    assert source.load(0).getpixel((0, 0)) == (9, 9, 9)


def test_several_shards(tmp_path):
    one = write_tar(tmp_path / "x" / "s.tar", [("a.png", png(1)), ("a.cls", b"1")])
    two = write_tar(tmp_path / "y" / "s.tar", [("a.png", png(2))])
    source = TarSource("", [two, one])
    assert rows(source) == [(0, "y/s.tar/a.png", None), (1, "x/s.tar/a.png", "1")]
    assert source.load(0).getpixel((0, 0))[0] == 2
    assert source.fingerprint() != TarSource("", [one, two]).fingerprint()


def test_cuts_are_where_a_shard_with_images_begins(tmp_path):
    counts = {"a": 0, "b": 2, "c": 0, "d": 1, "e": 3, "f": 0}
    shards = [
        write_tar(tmp_path / f"{name}.tar", [(f"{i}.png", png(i)) for i in range(n)])
        for name, n in counts.items()
    ]
    source = TarSource("", shards)
    assert source.cuts == (2, 3)
    assert [record.path[0] for record in source.records] == list("bbdeee")
    assert TarSource("", shards[:2]).cuts == ()


def test_fingerprint(tmp_path):
    def of(folder, *members):
        return TarSource("", [write_tar(tmp_path / folder / "s.tar", members)]).fingerprint()

    assert of("a", ("a.png", b"one")) == of("b", ("a.png", b"two")), "content is not hashed, nor the place"
    assert of("a", ("a.png", png(1))) != of("b", ("a.png", png(1) + b"x"))
    assert of("a", ("a.png", png(1))) != of("b", ("b.png", png(1)))


def test_bad_images_and_a_shard_that_disappears(tmp_path):
    shard = write_tar(tmp_path / "s.tar", [("a.png", b""), ("b.png", png()[:30]), ("c.png", png())])
    source = TarSource("", [shard])
    with pytest.raises(ImageError, match=r"^the file is empty$"):
        source.load(0)
    with pytest.raises(ImageError):
        source.load(1)
    assert source.load(2).size == (4, 3)
    shard.unlink()
    with pytest.raises(ImageError, match=r"^the shard cannot be read: No such file or directory$"):
        source.load(2)


def test_errors(tmp_path):
    with pytest.raises(BadInputError, match="no tar shards in 'set'"):
        TarSource("set", [])
    with pytest.raises(BadInputError, match=r"cannot read tar shard '.*n\.tar': No such file or directory"):
        TarSource("set", [tmp_path / "n.tar"])
    with pytest.raises(BadInputError, match=r"no image in the tar shards of 'set'; looked for \.avif"):
        TarSource("set", [write_tar(tmp_path / "e.tar", [("a.txt", b"x")])])
    packed = write_tar(tmp_path / "z.tar", [("a.png", png())], "w:gz")
    with pytest.raises(BadInputError, match="shards must be whole and uncompressed"):
        TarSource("set", [packed])
    whole = write_tar(tmp_path / "t.tar", [("a.png", bytes(5000))])
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(BadInputError, match=r"cannot read tar shard '.*t\.tar': unexpected end of data"):
        TarSource("set", [whole])


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


def test_arrays_count_where_there_is_no_image(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.full((3, 4), 1000, np.uint16))
    source = TarSource("", [write_tar(tmp_path / "s.tar", [("a.npy", stream.getvalue()), ("a.cls", b"x")])])
    assert rows(source) == [(0, "s.tar/a.npy", "x")]
    assert source.load(0).values.max() == 1000
    mixed = write_tar(tmp_path / "m.tar", [("a.npy", stream.getvalue()), ("a.png", png())])
    with pytest.warns(BacklightWarning, match=r"1 \.npy file beside the images"):
        assert rows(TarSource("", [mixed])) == [(0, "m.tar/a.png", None)]


def test_threads_get_the_right_images(tmp_path):
    shards = [
        write_tar(tmp_path / f"{s}.tar", [(f"{i}.png", png(50 * s + i)) for i in range(50)]) for s in range(4)
    ]
    source = pickle.loads(pickle.dumps(TarSource("", shards)))
    ids = list(range(200)) * 3
    random.Random(0).shuffle(ids)
    with ThreadPoolExecutor(8) as pool:
        levels = list(pool.map(lambda i: source.load(i).getpixel((0, 0))[0], ids))
    assert levels == ids


def test_patterns(tmp_path):
    for name in ("s-002.tar", "s-000.tar", "s-001.tar", "t.tar"):
        write_tar(tmp_path / name, [])
    found = {p: [path.name for path in find_shards(f"{tmp_path}/{p}")] for p in ["s-*.tar", "s-00[01].tar"]}
    assert found == {
        "s-*.tar": ["s-000.tar", "s-001.tar", "s-002.tar"],
        "s-00[01].tar": ["s-000.tar", "s-001.tar"],
    }
    write_tar(tmp_path / "x[1]" / "y" / "u.tar", [])
    write_tar(tmp_path / ".hidden" / "v.tar", [])
    for link in "ab":  # with two, there is no end to the ways round
        (tmp_path / "x[1]" / link).symlink_to(tmp_path / "x[1]")
    for pattern in ("x*/**/*.tar", "**/y/*.tar", "**/**/u.tar"):
        assert [path.name for path in find_shards(f"{tmp_path}/{pattern}")] == ["u.tar"]
    assert len(find_shards(f"{tmp_path}/**/*.tar")) == 5
    assert [p.name for p in find_shards(f"{tmp_path}/{{t,s-*}}.tar")] == [
        "t.tar", "s-000.tar", "s-001.tar", "s-002.tar",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("a-{008..010}.tar", ["a-008.tar", "a-009.tar", "a-010.tar"]),
        ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
        ("a-{3..2}.tar", []),
        ("a.tar", ["a.tar"]),
    ],
)
def test_braces(pattern, expected):
    assert [str(path) for path in find_shards(pattern)] == expected


@pytest.mark.shared
def test_cifar10(shared):
    source = TarSource("cifar10", [shared / "cifar10" / "cifar10-test-000.tar"])
    assert len(source) == 5000
    assert source.records[0].path == "cifar10-test-000.tar/test_000000.jpg"
    assert {record.label for record in source.records} == set("0123456789")
    assert source.load(4999).size == (32, 32)
