import errno
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight.errors import BadInputError
from backlight.images import FileSource, SequenceSource, TarSource, open_images


@pytest.fixture
def place(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3)).save(stream, "PNG")
    data = stream.getvalue()
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "a.png").write_bytes(data)
    (tmp_path / "shards").mkdir()
    for i in range(2):
        with tarfile.open(tmp_path / "shards" / f"s-{i}.tar", "w") as tar:
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (tmp_path / "list.txt").write_text("photos/cat/a.png\tfelix\n")
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "kind", "paths"),
    [
        ("photos", FileSource, ["cat/a.png"]),
        ("photos/cat/a.png", FileSource, ["a.png"]),
        ("list.txt", FileSource, ["photos/cat/a.png"]),
        ("shards", TarSource, ["s-0.tar/0.png", "s-1.tar/1.png"]),
        ("shards/s-1.tar", TarSource, ["s-1.tar/1.png"]),
        ("shards/s-{0..1}.tar", TarSource, ["s-0.tar/0.png", "s-1.tar/1.png"]),
        ("shards/*.tar", TarSource, ["s-0.tar/0.png", "s-1.tar/1.png"]),
    ],
)
def test_what_is_named_decides(place, spec, kind, paths):
    for given in (place / spec, str(place / spec)):
        source = open_images(given)
        assert type(source) is kind
        assert [record.path for record in source.records] == paths
        assert source.name == str(place / spec)
        assert source.load(0).size == (4, 3)


def test_sequences_images_and_sources(place):
    image = Image.new("RGB", (2, 2))
    source = open_images([image, place / "photos" / "cat" / "a.png"])
    assert type(source) is SequenceSource
    assert len(source) == 2
    assert len(open_images(image)) == 1
    assert open_images(source) is source


def test_home_is_expanded(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert len(open_images("~/photos")) == 1


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(place):
    (place / "photos" / "cat" / "a.png").rename(place / "b[1].png")
    assert open_images(place / "b[1].png").load(0).size == (4, 3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere", r"^no such file or folder: '.*nowhere'$"),
        ("empty", r"^no image in folder '.*empty'; looked for \.avif, "),
        (
            "notes.md",
            r"notes\.md' is neither an image, a list \(\.csv, \.tsv, \.txt\) nor a \.tar or \.parquet file$",
        ),
        ("s.tar.gz", r"s\.tar\.gz' is compressed, .* make it a plain \.tar$"),
        ("s.tgz", r"s\.tgz' is compressed"),
        ("both", r"holds both images and tar shards; give '.*both/\*\.tar' for the shards"),
        ("x/*.tar", r"^the pattern '.*' finds no file$"),
        (
            "photos/*/*.png",
            r"matches '.*a\.png', which is neither a \.tar nor a \.parquet file; patterns are for",
        ),
        ("s-{7..8}.tar", r"^cannot read tar shard '.*s-7\.tar': No such file or directory"),
        ("n" * 400, r"^cannot open '.*': File name too long$"),
        ("self", r"^cannot open '.*self': Too many levels of symbolic links$"),
        ("a\0b", r"^cannot open '.*': embedded null byte$"),
        ("fifo", r"fifo' is neither a file nor a folder"),
        ("s3:/b/x", r"^no such file or folder: '.*s3:/b/x'$"),
        (":memory:", r"^no such file or folder: '.*:memory:'$"),
        ("file:x.atlas", r"^no such file or folder: '.*file:x\.atlas'$"),
        (
            "s-{000..99999999999}.tar",
            r"matches more than 100000 files; check the numbers in its braces$",
        ),
        ("s-{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}.tar", r"matches more than 100000 files"),
        ("s-" + "{a,b}" * 40 + ".tar", r"the pattern has more than 32 braces; give the shards as a folder$"),
        ("s-{0.." + "9" * 5000 + "}.tar", r"^cannot open '.*': File name too long$"),
    ],
)
def test_errors(place, spec, message):
    (place / "empty").mkdir()
    for name in ("notes.md", "s.tar.gz", "s.tgz"):
        (place / name).write_text("x")
    (place / "both" / "deep").mkdir(parents=True)
    (place / "both" / "deep" / "a.png").write_text("x")
    (place / "both" / "s.tar").write_text("x")
    (place / "self").symlink_to("self")
    os.mkfifo(place / "fifo")
    with pytest.raises(BadInputError, match=message) as caught:
        open_images(place / spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", [Path("s3://bucket/a.tar"), "s3:/bucket/a.tar", "photo://a.tar"])
def test_what_is_nearly_an_address(spec):
    with pytest.raises(
        BadInputError,
        match=r"^no such file or folder: '[a-z0-9]+:/[^']*'; an address is a string that begins",
    ):
        open_images(spec)


def test_empty_sequence():
    with pytest.raises(BadInputError, match="got no images"):
        open_images([])


def test_a_user_that_is_not_there():
    with pytest.raises(BadInputError, match=r"^no such user: '~nosuchuser'; write the whole path$"):
        open_images("~nosuchuser/photos")


@pytest.mark.parametrize("spec", ["photos", "list.txt", "photos/cat/a.png", "shards/s-1.tar"])
def test_without_permission(place, spec, monkeypatch):
    """By hand, for the super-user may do everything."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(BadInputError, match=r"^cannot open '.*': Permission denied$"):
        open_images(place / spec)


def test_arrays(place):
    deep = np.full((3, 4), 1000, np.uint16)
    np.save(place / "a.npy", deep)
    for spec in (deep, [deep], deep[None, :, :, None], place / "a.npy"):
        source = open_images(spec)
        assert len(source) == 1
        assert np.array_equal(source.load(0).values, deep)
        assert len(source.fingerprint()) == 64
    prints = {
        open_images([own]).fingerprint() for own in (deep, deep + np.uint16(1), deep.T, deep.astype(int))
    }
    assert len(prints) == 4


def test_images_with_labels(place):
    source = open_images([(Image.new("L", (2, 2)), 7), (place / "photos" / "cat" / "a.png", None)])
    assert [record.label for record in source.records] == ["7", None]
    assert source.load(1).size == (4, 3)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("spec", [3, {"a": 1}, b"ab", np.float32(3)])
def test_what_is_no_set_of_images(spec):
    with pytest.raises(
        BadInputError, match=r"images are a path, a picture, an array, a tensor, a list or generator"
    ):
        open_images(spec)


@pytest.mark.usefixtures("untyped")
def test_a_sequence_of_something_else():
    with pytest.raises(BadInputError, match="image 0 of the sequence is a int"):
        open_images([3])


def test_relative_specs(place, monkeypatch):
    monkeypatch.chdir(place)
    assert [len(open_images(Path(name))) for name in ("photos", "shards", "list.txt")] == [1, 2, 1]
