import hashlib
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images import FileSource, ImageRecord, ImageSource, SequenceSource, folder_source
from backlight.images.sources import digest
from images.pictures import save


def test_load_is_upright_rgb_and_its_errors_are_reasons_alone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (4, 3)).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "b.png").write_bytes(b"")
    source = folder_source(tmp_path)
    assert (source.load(0).mode, source.load(0).size) == ("RGB", (3, 4))
    with pytest.raises(ImageError, match=r"^the file is empty$"):
        source.load(1)
    for image_id in (-1, 2):
        with pytest.raises(BadInputError, match=rf"image id {image_id} is out of range for .* \(2 images"):
            source.load(image_id)


# Fingerprints


def test_fingerprint_depends_on_names_sizes_and_order_not_on_the_place(tmp_path):
    prints = []
    for name in ("one", "two"):
        save(tmp_path / name / "a.png", size=(50, 50))
        save(tmp_path / name / "b.png")
        prints.append(folder_source(tmp_path / name).fingerprint())
    assert prints[0] == prints[1]
    assert prints[0] != FileSource("", tmp_path / "one", ["b.png", "a.png"]).fingerprint()
    (tmp_path / "two" / "b.png").write_bytes(b"x")
    assert folder_source(tmp_path / "two").fingerprint() != prints[0]
    (tmp_path / "one" / "b.png").rename(tmp_path / "one" / "c.png")
    assert folder_source(tmp_path / "one").fingerprint() != prints[0]


def test_fingerprint_is_the_same_in_every_version():
    """An atlas holds it: another value would end every resume."""
    text = b"1:a:5;3:b;c:-1;"
    assert digest([("a", 5), ("b;c", -1)]) == hashlib.sha256(text).hexdigest()


entries = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-1, 99)))


@given(entries, entries)
def test_fingerprints_of_different_entries_differ(one, other):
    assert (digest(one) == digest(other)) == (one == other)


# Sequences


def test_a_sequence_keeps_its_order(tmp_path):
    save(tmp_path / "a.png", "blue")
    source = SequenceSource([Image.new("L", (2, 2), 7), tmp_path / "a.png"], ["x", None])
    assert isinstance(source, ImageSource)
    path = str(tmp_path / "a.png")
    assert source.records == (ImageRecord(0, "image 0", "x"), ImageRecord(1, path, None))
    assert source.load(0).getpixel((0, 0)) == (7, 7, 7)
    assert source.load(1).getpixel((0, 0)) == (0, 0, 255)


def test_images_in_memory_are_told_apart_by_their_pixels(tmp_path):
    def one(level):
        return SequenceSource([Image.new("L", (2, 2), level), tmp_path / "missing.png"]).fingerprint()

    assert one(1) == one(1)
    assert one(1) != one(2)


def test_sequence_errors():
    with pytest.raises(BadInputError, match="got no images; give at least one"):
        SequenceSource([])
    with pytest.raises(BadInputError, match="got 1 images and 2 labels"):
        SequenceSource(["a.png"], ["x", "y"])
    with pytest.raises(BadInputError, match="'n' has 1 files and 2 labels"):
        FileSource("n", Path(), ["a.png"], ["x", "y"])


@pytest.mark.usefixtures("untyped")
def test_a_sequence_of_something_else():
    with pytest.raises(
        BadInputError, match="image 1 of the sequence is a int; give Pillow images, arrays, tensors"
    ):
        SequenceSource(["a.png", 3])


def test_sources_can_be_sent_to_another_process(tmp_path):
    save(tmp_path / "a.png")
    for source in (folder_source(tmp_path), SequenceSource([Image.new("L", (2, 2))])):
        copy = pickle.loads(pickle.dumps(source))
        assert copy.records == source.records
        assert copy.fingerprint() == source.fingerprint()
        assert copy.load(0).tobytes() == source.load(0).tobytes()
