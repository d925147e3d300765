"""Folders of images, and lists of them."""

import importlib.util
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from backlight.errors import BacklightWarning, BadInputError, ImageError
from backlight.images import ImageRecord, ImageSource, folder_source, list_source
from images.pictures import names, save


def test_folder_is_sorted_by_code_point_and_labelled_by_its_first_subfolders(tmp_path):
    for name in ["dog/9.png", "dog/10.png", "Cat/deep/a.JPeG", "cat/b.tiff", "cat-2/c.webp", "z.png"]:
        save(tmp_path / name)
    source = folder_source(tmp_path)
    assert isinstance(source, ImageSource)
    assert [(record.path, record.label) for record in source.records] == [
        ("Cat/deep/a.JPeG", "Cat"),
        ("cat-2/c.webp", "cat-2"),
        ("cat/b.tiff", "cat"),
        ("dog/10.png", "dog"),
        ("dog/9.png", "dog"),
        ("z.png", None),
    ]
    assert [record.id for record in source.records] == list(range(len(source))) == list(range(6))
    assert source.name == str(tmp_path)


def test_hidden_files_other_suffixes_and_folders_named_like_images_are_passed_over(tmp_path):
    for name in ["a.png", ".b.png", ".hidden/c.png", "d.png.txt", "e", "f.npy", "g.jpg/h.png"]:
        save(tmp_path / name)
    os.mkfifo(tmp_path / "i.jpg")
    with pytest.warns(BacklightWarning, match=r"1 \.npy file beside the images of '.*' not read"):
        found = names(folder_source(tmp_path))
    assert found == ["a.png", "g.jpg/h.png"]


def test_a_folder_of_arrays(tmp_path):
    for name in ["b.npy", "cat/a.NPY"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with (tmp_path / name).open("wb") as file:
            np.save(file, np.full((3, 4), 1000, np.uint16))
    source = folder_source(tmp_path)
    assert [(record.path, record.label) for record in source.records] == [
        ("b.npy", None),
        ("cat/a.NPY", "cat"),
    ]
    assert source.load(0).values.max() == 1000


@pytest.fixture
def deep(tmp_path):
    """Make folders in one another, each of one name, with an image in the last; no path of theirs need be short."""

    def make(name, depth):
        place = os.open(tmp_path, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(name, dir_fd=place)
            below = os.open(name, os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = below
        os.close(os.open("a.png", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        os.close(place)
        return tmp_path

    yield make
    subprocess.run(
        ["rm", "-rf", *tmp_path.iterdir()], check=True
    )  # pytest's own clearing up goes by recursion


def test_folders_1500_deep(deep):
    assert names(folder_source(deep("d", 1500))) == ["d/" * 1500 + "a.png"]


def test_folders_too_deep_for_a_path(deep):
    with pytest.raises(BadInputError, match=r"cannot read folder .*: File name too long$") as caught:
        folder_source(deep("d" * 250, 20))
    assert len(str(caught.value)) < 300


def test_links_that_multiply_end_in_an_error(tmp_path):
    """Two links to the next folder in each of 40: 2**40 ways to the last."""
    for i in range(40):
        (tmp_path / str(i)).mkdir()
        for link in "ab":
            (tmp_path / str(i) / link).symlink_to(tmp_path / str(i + 1))
    (tmp_path / "40").mkdir()
    with pytest.raises(
        BadInputError, match=r"links lead to folder '.*' more than 1000 times; .* a list file"
    ):
        folder_source(tmp_path / "0")


def test_links_are_followed_but_never_round_a_loop(tmp_path):
    save(tmp_path / "set" / "cat" / "a.png")
    save(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "cat" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "cat" / "here").symlink_to(".")
    (tmp_path / "set" / "self").symlink_to("self")
    (tmp_path / "set" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    source = folder_source(tmp_path / "set")
    assert names(source) == ["cat/a.png", "dog/b.png", "gone.png"]
    assert source.load(1).size == (4, 3)
    with pytest.raises(ImageError, match=r"^no such file$"):
        source.load(2)


def test_a_name_that_is_not_utf_8_can_be_listed_stored_and_loaded(tmp_path):
    try:
        save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    source = folder_source(tmp_path)
    assert names(source) == ["caf\\xe9.png"]
    assert names(source)[0].encode("utf-8")
    assert source.load(0).size == (4, 3)
    assert len(source.fingerprint()) == 64


def test_folder_errors(tmp_path):
    with pytest.raises(BadInputError, match=r"no such folder: '.*nowhere'"):
        folder_source(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(BadInputError, match=r"no image in folder '.*'; looked for \.avif, \.bmp, .*\.webp$"):
        folder_source(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(BadInputError, match=r"cannot read folder '.*closed': Permission denied"):
        folder_source(tmp_path)


def test_a_relative_folder_stays_where_it_was(tmp_path, monkeypatch):
    save(tmp_path / "set" / "a.png")
    monkeypatch.chdir(tmp_path)
    source = folder_source(Path("set"))
    monkeypatch.chdir("/")
    assert source.load(0).size == (4, 3)


def listed(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return [(record.path, record.label) for record in list_source(path).records]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "b.png\na.png\n", [("b.png", None), ("a.png", None)]),
        ("a.txt", "\ufeffb.png\r\n\r\n  a.png  \r\n", [("b.png", None), ("a.png", None)]),
        ("a.txt", "my b.png\tred cat\nc.png\t\n", [("my b.png", "red cat"), ("c.png", None)]),
        ("a.txt", "a, b.png\na, b.png,cat\n", [("a, b.png", None), ("a, b.png", "cat")]),
        ("a.txt", "c.png,\nc.png , x\n", [("c.png", None), ("c.png", "x")]),
        ("a.txt", "val_1.JPEG 65\nmy b.png 3\n", [("val_1.JPEG", "65"), ("my b.png", "3")]),
        ("a.txt", "no-suffix\npath\n", [("no-suffix", None), ("path", None)]),
        ("a.csv", 'path,label\n"a, b.png",cat\nc.png\n', [("a, b.png", "cat"), ("c.png", None)]),
        ("a.csv", "x.png, dog ,7\n\ny.png,\n", [("x.png", "dog"), ("y.png", None)]),
        ("a.tsv", 'filename\tlabel\nthe "best", b.png\tcat\n', [('the "best", b.png', "cat")]),
        ("a.TSV", "b.png\n", [("b.png", None)]),
    ],
)  # fmt: skip
def test_lists(tmp_path, name, text, expected):
    assert listed(tmp_path, name, text) == expected


def test_a_list_is_relative_to_its_own_folder_and_may_name_what_is_not_there(tmp_path):
    save(tmp_path / "images" / "a.png")
    save(tmp_path / "b.png")
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "l.txt"
    path.write_text(f"../images/a.png\n{tmp_path}/b.png\nmissing.png\na\0b.png")
    source = list_source(path)
    assert source.load(0).size == source.load(1).size == (4, 3)
    with pytest.raises(ImageError, match=r"^no such file$"):
        source.load(2)
    with pytest.raises(ImageError, match="null byte"):
        source.load(3)
    assert len(source.fingerprint()) == 64


def test_list_errors(tmp_path):
    with pytest.raises(BadInputError, match=r"cannot read list '.*l\.txt': No such file"):
        list_source(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_bytes(b"a.png\n\xff\xfe")
    with pytest.raises(BadInputError, match=r"list '.*' is not UTF-8 text \(byte 6\)"):
        list_source(tmp_path / "l.txt")
    (tmp_path / "l.csv").write_text("path,label\n")
    with pytest.raises(BadInputError, match="names no image; write one path per line"):
        list_source(tmp_path / "l.csv")
    (tmp_path / "l.csv").write_text("a" * 200_000)
    with pytest.raises(BadInputError, match="as comma-separated values: field larger"):
        list_source(tmp_path / "l.csv")


@pytest.mark.shared
def test_a_thousand_photographs(shared):
    source = folder_source(shared / "images" / "imagen")
    assert len(source) == 1000
    assert source.records[0] == ImageRecord(0, "n00007846_147031_person.jpg", None)
    assert min(source.load(999).size) == 256
    assert source.fingerprint() == folder_source(shared / "images" / "imagen").fingerprint()


def test_formats_that_are_not_read_are_named(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.HEIC").write_bytes(b"x")
    (tmp_path / "a.svg").write_text("<svg/>")
    (tmp_path / "notes.txt").write_text("none of them")
    with pytest.raises(
        BadInputError, match=r"; it has 4 files of formats that are not read: 3 \.heic, 1 \.svg$"
    ):
        folder_source(tmp_path)
    save(tmp_path / "b.png")
    with pytest.warns(
        BacklightWarning, match=r"has 4 files of formats that are not read: 3 \.heic, 1 \.svg$"
    ):
        source = folder_source(tmp_path)
    assert names(source) == ["b.png"]


def as_dicom(path):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + bytes(40))


@pytest.mark.skipif(
    importlib.util.find_spec("pydicom") is None, reason="a warning tells that pydicom is missing"
)
def test_dicom_files_are_found_whose_names_have_no_suffix(tmp_path):
    for name in ["IM0001", "a/1.2.840.113619.7", "a/IM0002", "DICOMDIR", "dicomdir", "b.bin"]:
        as_dicom(tmp_path / name)
    (tmp_path / "README").write_text("x" * 200)
    (tmp_path / "short").write_bytes(b"DICM")
    save(tmp_path / "c.png")
    source = folder_source(tmp_path)
    assert names(source) == ["IM0001", "a/1.2.840.113619.7", "a/IM0002", "c.png"]
    assert source.records[1].label == "a"


def test_dicom_files_without_a_suffix_are_told_where_nothing_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr("backlight.images.files.has_pydicom", lambda: False)
    as_dicom(tmp_path / "IM0001")
    with pytest.warns(BacklightWarning, match=r"1 DICOM without a suffix; pip install .* reads DICOM$"):
        folder_source(tmp_path)
