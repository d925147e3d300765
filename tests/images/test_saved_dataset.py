import io
import pickle
import sys

import pytest
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images import DatasetSource, ImageSource, open_images


@pytest.fixture(scope="module")
def datasets():
    module = pytest.importorskip("datasets", reason="needs pip install 'backlight[datasets]'")
    module.disable_progress_bars()
    return module


def png(level, **options):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (level,) * 3).save(stream, "PNG", **options)
    return stream.getvalue()


def make(datasets, columns, **kinds):
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


@pytest.fixture
def saved(datasets, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(png(4))
    dataset = make(
        datasets,
        {
            "text": ["a", "b", "c", "d", "e"],
            "photo": [
                {"bytes": png(1), "path": "one.png"},
                {"bytes": png(2, exif=exif), "path": None},
                {"bytes": b"junk", "path": "three.png"},
                {"bytes": None, "path": str(elsewhere)},
                None,
            ],
            "label": [1, 0, None, 1, 0],
        },
        text=datasets.Value("string"),
        photo=datasets.Image(),
        label=datasets.ClassLabel(names=["cat", "dog"]),
    )
    dataset.save_to_disk(tmp_path / "set")
    return tmp_path / "set"


def test_rows_in_order_with_names_of_classes(saved):
    source = open_images(saved)
    assert isinstance(source, DatasetSource)
    assert isinstance(source, ImageSource)
    assert [(record.id, record.label) for record in source.records] == [
        (0, "dog"), (1, "cat"), (2, None), (3, "dog"), (4, "cat"),
    ]  # fmt: skip
    assert [record.path for record in source.records[:3]] == ["one.png", "row 1", "three.png"]
    assert source.load(0).getpixel((0, 0)) == (1, 1, 1)
    assert source.load(1).size == (3, 4), "not upright"
    with pytest.raises(ImageError, match=r"^not an image in a format that Pillow reads$"):
        source.load(2)
    with pytest.raises(ImageError, match=r"^the row has no image$"):
        source.load(4)
    with pytest.raises(BadInputError, match="image id 5 is out of range"):
        source.load(5)


def test_fingerprint_and_pickle(saved, datasets, tmp_path):
    source = DatasetSource(saved)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.fingerprint() == source.fingerprint() == DatasetSource(saved).fingerprint()
    assert copy.load(0).getpixel((0, 0)) == (1, 1, 1)
    datasets.load_from_disk(str(saved)).select([1, 0, 2, 3, 4]).save_to_disk(tmp_path / "turned")
    turned = DatasetSource(tmp_path / "turned")
    assert turned.fingerprint() != source.fingerprint()
    assert turned.load(1).getpixel((0, 0)) == (1, 1, 1)


def test_labels_that_are_not_classes(datasets, tmp_path):
    images = [{"bytes": png(1), "path": None}] * 2
    kinds = {"image": datasets.Image()}
    make(datasets, {"image": images}, **kinds).save_to_disk(tmp_path / "a")
    assert [record.label for record in DatasetSource(tmp_path / "a").records] == [None, None]
    kinds["label"] = datasets.Value("int64")
    make(datasets, {"image": images, "label": [3, None]}, **kinds).save_to_disk(tmp_path / "b")
    assert [record.label for record in DatasetSource(tmp_path / "b").records] == ["3", None]


def test_errors(datasets, saved, tmp_path):
    dataset = datasets.load_from_disk(str(saved))
    datasets.DatasetDict({"train": dataset, "test": dataset}).save_to_disk(tmp_path / "splits")
    with pytest.raises(
        BadInputError, match=r"holds several splits; give one: \S*/splits/test, \S*/splits/train$"
    ):
        open_images(tmp_path / "splits")
    assert len(open_images(tmp_path / "splits" / "test")) == 5
    make(datasets, {"text": ["a"]}, text=datasets.Value("string")).save_to_disk(tmp_path / "texts")
    with pytest.raises(BadInputError, match=r"no images in the dataset '.*texts': 1 rows, columns text;"):
        open_images(tmp_path / "texts")
    next(saved.glob("*.arrow")).write_bytes(b"x")
    with pytest.raises(BadInputError, match=r"cannot read the dataset '.*set': .*; write it again") as caught:
        open_images(saved)
    assert "\n" not in str(caught.value)


def test_a_format_that_the_dataset_keeps_changes_nothing(datasets, saved, tmp_path):
    datasets.load_from_disk(str(saved)).with_format("numpy").save_to_disk(tmp_path / "numpy")
    source = DatasetSource(tmp_path / "numpy")
    assert [record.label for record in source.records] == ["dog", "cat", None, "dog", "cat"]
    assert source.load(0).getpixel((0, 0)) == (1, 1, 1)


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json", "*.arrow"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "swapped", "deep"])
def test_damaged_files_are_refused_in_one_line_or_read(saved, name, damage):
    """A wrong offset in an Arrow file, followed in mapped memory, would end the program without a word."""
    path = next(saved.glob(name))
    data = path.read_bytes()
    changed = {
        "cut": data[: len(data) // 2],
        "flipped": data.replace(b"\x04\0\0\0", b"\xff\xff\xff\x7f"),
        "swapped": data[::-1],
        "deep": b"[" * 5000 + data,
    }[damage]
    path.write_bytes(changed)
    try:
        source = DatasetSource(saved)
    except BadInputError as error:
        assert "\n" not in str(error)
        assert f"the dataset '{saved}'" in str(error)
    else:
        assert changed == data or len(source)


def test_a_file_that_is_cut_while_it_is_open(saved):
    source = DatasetSource(saved)
    path = next(saved.glob("*.arrow"))
    assert source.load(0).size == (4, 3)
    with path.open("r+b") as file:
        file.truncate(200)
    with pytest.raises(ImageError, match=r"^a file of the dataset was cut short while it was in use$"):
        source.load(0)


def test_without_the_package(tmp_path, monkeypatch):
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BadInputError, match=r"run: pip install 'backlight\[datasets\]'"):
        open_images(tmp_path)
