import io
import pickle
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from backlight.errors import BacklightWarning, BadInputError, ImageError
from backlight.images import ImageSource, TarSource
from images.archives import png, write_tar


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


@pytest.mark.shared
def test_cifar10(shared):
    source = TarSource("cifar10", [shared / "cifar10" / "cifar10-test-000.tar"])
    assert len(source) == 5000
    assert source.records[0].path == "cifar10-test-000.tar/test_000000.jpg"
    assert {record.label for record in source.records} == set(source.class_names)
    assert source.class_names[:3] == ("airplane", "automobile", "bird")
    assert source.load(4999).size == (32, 32)
