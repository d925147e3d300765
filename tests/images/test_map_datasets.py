import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from backlight.errors import BacklightWarning, BadInputError, ImageError
from backlight.images import MapSource, map_datasets, open_images
from conftest import make_pictures
from images.pictures import PICTURES, names


class Plain(Dataset):
    """Pictures and what else a test gives it: the least that a Dataset is."""

    def __init__(self, items, **known):
        self.items, self.n_read = items, 0
        self.__dict__.update(known)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.n_read += 1
        if isinstance(self.items[index], Exception):
            raise self.items[index]
        return self.items[index]


def labels(source):
    return [record.label for record in source.records]


@pytest.fixture
def folder(tmp_path):
    return make_pictures(tmp_path / "pictures", 6)


def test_an_image_folder_is_known_by_its_files(folder):
    files, source = open_images(folder), MapSource(ImageFolder(folder))
    assert source.records == files.records
    assert source.fingerprint() == files.fingerprint()
    assert source.name == str(folder)
    other = MapSource(ImageFolder(folder, transforms.ToTensor()))
    assert other.records == files.records
    assert other.fingerprint() != files.fingerprint()  # another picture may be seen
    assert other.load(3).tobytes() == source.load(3).tobytes() == files.load(3).tobytes()


def test_parts_keep_files_and_labels(folder, tmp_path):
    more = make_pictures(tmp_path / "more", 4)
    part = Subset(ImageFolder(folder), [5, 0])
    assert names(MapSource(part)) == ["b/005.png", "a/000.png"]
    both = MapSource(ConcatDataset([part, ImageFolder(more)]))
    assert names(both)[:3] == ["pictures/b/005.png", "pictures/a/000.png", "more/a/000.png"]
    assert labels(both) == ["b", "a", "a", "a", "b", "b"]
    assert both.load(2).tobytes() == open_images(more).load(0).tobytes()


def test_labels_are_those_listed_named_by_their_classes():
    items = [(picture, i) for i, picture in enumerate(PICTURES)]
    targets = torch.arange(3)
    assert labels(MapSource(Plain(items, targets=targets))) == ["0", "1", "2"]
    assert labels(MapSource(Plain(items, targets=targets, classes=["x", "y", "z"]))) == ["x", "y", "z"]
    turned = Plain(items, targets=targets, classes=["x", "y", "z"], target_transform=lambda i: 2 - i)
    assert labels(MapSource(turned)) == ["z", "y", "x"]
    assert labels(MapSource(TensorDataset(torch.rand(2, 3, 4, 4), torch.tensor([7, 8])))) == ["7", "8"]


def test_labels_that_are_not_listed_are_read_of_a_small_set_and_missed_aloud_of_a_large_one(monkeypatch):
    items = [(picture, i) for i, picture in enumerate(PICTURES)]
    given = Plain(
        [*items, OSError("gone")], targets=[1], classes=["x", "y", "z"]
    )  # one for four: something else
    assert labels(MapSource(given)) == ["x", "y", "z", None]
    monkeypatch.setattr(map_datasets, "N_READ_FOR_LABELS", 3)
    with pytest.warns(
        BacklightWarning, match=r"does not list its labels, and reading all 4 items .* `targets`$"
    ):
        assert labels(MapSource(given)) == [None] * 4


def test_a_table_of_hugging_face():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    table = datasets.Dataset.from_dict({"image": PICTURES, "label": [1, 0, 1]}, features)
    source = open_images(table)
    assert labels(source) == ["dog", "cat", "dog"]
    assert source.load(0).tobytes() == PICTURES[0].tobytes()


def test_items_are_read_one_by_one_when_they_are_needed():
    dataset = Plain([PICTURES[0]] * 1000)
    source = MapSource(dataset)
    assert dataset.n_read < 40
    before = dataset.n_read
    source.load(999)
    assert dataset.n_read == before + 1


class Counting(Plain):
    """Knows how many threads read it at a time."""

    def __getitem__(self, index):
        self.within = getattr(self, "within", 0) + 1
        self.most = max(getattr(self, "most", 0), self.within)
        zlib.crc32(bytes(10**6))  # lets other threads run
        self.within -= 1
        return super().__getitem__(index)


def test_one_thread_at_a_time_reads_a_dataset_of_ones_own():
    dataset = Counting([PICTURES[0]] * 60)
    source = MapSource(dataset)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(source.load, range(60)))) == 60
    assert dataset.most == 1


def test_a_fingerprint_is_of_pixels_where_there_are_no_files():
    source = MapSource(Plain(PICTURES))
    assert source.fingerprint() == MapSource(Plain(list(PICTURES))).fingerprint()
    others = [
        Plain([*PICTURES[:2], Image.new("L", (3, 3))]),
        Plain(PICTURES[:2]),
        Plain(PICTURES, transform="x"),
    ]
    assert len({source.fingerprint(), *(MapSource(own).fingerprint() for own in others)}) == 4


def test_a_source_can_be_pickled():
    source = pickle.loads(pickle.dumps(MapSource(TensorDataset(torch.rand(2, 3, 4, 4), torch.arange(2)))))
    assert labels(source) == ["0", "1"]
    assert source.load(1).size == (4, 4)


def test_an_item_that_cannot_be_read_is_one_skipped_image():
    source = MapSource(Plain([*PICTURES, OSError("no\nsuch file")]))
    with pytest.raises(ImageError, match=r"^the Dataset cannot give it: OSError: no such file$"):
        source.load(3)
    assert len(source.fingerprint()) == 64


class Shaky(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.rand(3, 4, 4)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Plain([]), r"^the Plain given as images has no items; give at least one$"),
        (
            Plain([3]),
            r"^item 0 of the Plain given as images is a int; an item is an image, \(image, label\), or",
        ),
        (Plain([{"pixels": 1}]), r"^item 0 of the Plain given as images is a dict; an item is"),
        (Shaky(), r"gives another picture each time it is read; leave random transforms out of it$"),
        (
            TensorDataset(torch.full((2, 3, 4, 4), -2.0)),
            r"values from -2 to -2: .* before Normalize, for the",
        ),
        (
            Plain(PICTURES, transform=transforms.Normalize((0.5,), (0.5,))),
            r"normalises its pictures \(Normalize\(mean=\(0\.5,\).*leave Normalize out of its transform$",
        ),
    ],
)
def test_what_is_refused(dataset, message):
    with pytest.raises(BadInputError, match=message):
        MapSource(dataset)


def test_paths_are_pictures_too(folder):
    source = MapSource(Plain([str(folder / "a" / "000.png")]))
    assert np.array_equal(np.asarray(source.load(0)), np.asarray(Image.open(folder / "a" / "000.png")))
