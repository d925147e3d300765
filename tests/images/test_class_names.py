import io
import json
import tarfile
import warnings

import numpy as np
import pytest
from PIL import Image

import backlight
from atlas.files import make_network
from backlight.errors import BacklightWarning, BadInputError
from backlight.images import NamedSource, class_names, in_order, open_images
from backlight.images.class_names import MOST_BYTES
from conftest import make_pictures
from images.pictures import encoded

PICTURE = Image.fromarray(np.zeros((4, 5, 3), np.uint8))


def write(path, text):
    path.write_text(text, "utf-8")
    return path


def test_names_come_in_order_by_label_or_from_a_file(tmp_path):
    expected = {"0": "cat", "1": "dog"}
    assert class_names(["cat", "dog"]) == expected
    assert class_names({0: "cat", 1: "dog"}) == expected
    assert class_names(write(tmp_path / "a.txt", "cat\n dog \n\n")) == expected
    assert class_names(str(write(tmp_path / "a.json", '["cat", "dog"]'))) == expected
    assert class_names(write(tmp_path / "b.json", json.dumps(expected))) == expected
    assert class_names({"n02": "owl"}) == {"n02": "owl"}
    assert class_names(None) == {}


def test_imagenet_has_a_thousand(tmp_path, monkeypatch):
    names = in_order(class_names("imagenet"))
    assert (len(names), names[0], names[281]) == (1000, "tench", "tabby")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "imagenet", "a file\nof that name")
    assert in_order(class_names("imagenet")) == ("a file", "of that name")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.json",
            b"{",
            r"cannot read the labels '.*a.json' \(damaged JSON\); give a text file with one",
        ),
        ("a.json", b"3", r"are JSON, but neither a list nor an object"),
        ("a.json", b"[1]", r"a list of texts, or a mapping from labels to texts"),
        ("a.txt", b"\xff\xfe", r"\(it is not text\)"),
        ("a.txt", b"", r"a list of texts, or a mapping"),
        ("a.txt", b"a" * 201, r"has at most 200 printable characters, got 'aaaa"),
        ("a.txt", b"a\x1bb", r"has at most 200 printable characters, got 'a"),
        ("a.txt", b"x" * (MOST_BYTES + 1), r"are longer than 1048576 bytes"),
        ("a.txt", None, r"\(No such file or directory\)"),
    ],
)
def test_files_that_are_no_names(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=message):
        class_names(tmp_path / name)


def test_labels_get_names_and_all_else_stays():
    plain = open_images([(PICTURE, 1), (PICTURE, "0"), (PICTURE, "owl"), PICTURE][:3])
    source = NamedSource(plain, class_names(["", "dog"]))
    assert [record.label for record in source.records] == ["dog", "0", "owl"]  # an empty name names nothing
    assert source.class_names == ("", "dog")
    assert source.fingerprint() == plain.fingerprint()
    assert source.name == plain.name
    assert source.load(2).size == (5, 4)
    assert NamedSource(plain, {"owl": "eule"}).class_names == ()


def make_shard(path, members):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("where", ["beside", "inside", "nowhere", "no text"])
def test_the_numbers_of_webdataset_are_named_by_classes_txt(tmp_path, where):
    members = {"1.png": encoded(PICTURE), "1.cls": b"1", "2.png": encoded(PICTURE), "2.cls": b"7"}
    if where == "inside":
        members = {"classes.txt": b"cat\ndog\n", **members}
    make_shard(tmp_path / "shards" / "a.tar", members)
    if where in ("beside", "no text"):
        (tmp_path / "shards" / "classes.txt").write_bytes(b"cat\ndog\n" if where == "beside" else b"\xff\xff")
    source = open_images(tmp_path / "shards")
    is_named = where in ("beside", "inside")
    assert [record.label for record in source.records] == ["dog" if is_named else "1", "7"]
    assert source.class_names == (("cat", "dog") if is_named else ())


def test_names_are_kept_in_an_atlas_and_drawn(tmp_path):
    folder, net = make_pictures(tmp_path / "p", 8), make_network()
    names = {"0": "ant", "1": "bee", "2": "cow", "3": "doe", "4": "elk"}
    numbered = [(folder / record.path, "ab".index(record.label)) for record in open_images(folder).records]
    atlas = backlight.build(
        net, numbered, tmp_path / "a.atlas", ["relu2", "fc"], maps=4, compile="off", labels=names
    )
    assert atlas.classes == ("ant", "bee", "cow", "doe", "elk")
    assert {image.label for image in map(atlas.images.__getitem__, range(8))} == {"ant", "bee"}
    assert atlas["fc"].class_names == atlas.classes
    assert atlas["fc"].heading().of_map(3) == "channel 3: doe"
    assert atlas["relu2"].heading().of_map(3) == "channel 3"
    plain, named = (atlas.figure("relu2", [atlas["relu2"].channels[0]], names=own) for own in (False, True))
    assert named.height > plain.height
    assert named.width == plain.width
    other = backlight.build(net, folder, tmp_path / "b.atlas", ["fc"], compile="off")
    assert (other.classes, other["fc"].class_names) == ((), ())


def test_names_that_match_no_label_are_told(tmp_path):
    pixels = np.zeros((2, 2), np.uint8)
    plain = open_images([(pixels, "sick"), (pixels, "well")])
    with pytest.warns(
        BacklightWarning, match=r"they are 'sick', 'well', and names are given for '0', '1', '2';"
    ):
        named = NamedSource(plain, class_names(["a", "b", "c"]))
    assert [record.label for record in named.records] == ["sick", "well"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NamedSource(plain, class_names(["sick", "well"]))
        NamedSource(plain, {"sick": "krank"})
        NamedSource(open_images([pixels]), class_names(["a"]))


def test_names_in_the_place_of_their_file_are_refused_with_the_way_to_write_them():
    with pytest.raises(
        BadInputError, match=r"labels are a file of names.* give a list.*\['normal', 'nodule'\]"
    ) as raised:
        class_names("normal,nodule")
    assert "write the names into a text file, one on each line" in raised.value.for_command_line
