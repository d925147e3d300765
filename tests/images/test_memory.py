"""Images in memory: whatever they are given as, they make the atlas that their files make."""

import sqlite3

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import backlight
from backlight.errors import BadInputError
from backlight.images import MapSource, Preprocessing, SequenceSource, listed_images, open_images
from backlight.images.memory import memory_source
from backlight.inversion.codes import is_layer_code, one_image
from conftest import captured_small_net, make_pictures

PREPROCESSING = Preprocessing(36, (32, 32), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class CifarLike:
    """As torchvision's CIFAR10: an array of all pictures, numbers as labels, and the names of the classes."""

    classes = ("a", "b")

    def __init__(self, arrays, labels):
        self.data, self.targets = np.stack(arrays), [self.classes.index(own) for own in labels]

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return Image.fromarray(self.data[index]), self.targets[index]


def _kinds(folder):
    source = open_images(folder)
    pictures = [source.load(i) for i in range(len(source))]
    labels = [record.label for record in source.records]
    arrays = [np.asarray(own) for own in pictures]
    tensors = [torch.from_numpy(own.copy()).permute(2, 0, 1) for own in arrays]
    floats = torch.stack(tensors).float() / 255
    half = len(pictures) // 2
    to_float = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    return {
        "pillow": pictures,
        "arrays": arrays,
        "one array": np.stack(arrays),
        "tensors of uint8": tensors,
        "tensors of floats": list(floats),
        "one tensor of uint8": torch.stack(tensors),
        "one tensor of floats": floats,
        "pairs": list(zip(pictures, labels, strict=True)),
        "pairs of tensors": list(zip(floats, labels, strict=True)),
        "mappings": [{"image": p, "label": own} for p, own in zip(pictures, labels, strict=True)],
        "paths": [folder / record.path for record in source.records],
        "generator": (own for own in arrays),
        "generator of pairs": zip(tensors, labels, strict=True),
        "stream": Stream(list(zip(pictures, labels, strict=True))),
        "ImageFolder": ImageFolder(folder),
        "ImageFolder, ToTensor": ImageFolder(folder, transforms.ToTensor()),
        "ImageFolder, v2": ImageFolder(folder, to_float),
        "Subset": Subset(ImageFolder(folder), range(len(pictures))),
        "ConcatDataset": ConcatDataset(
            [
                Subset(ImageFolder(folder), range(half)),
                Subset(ImageFolder(folder), range(half, len(pictures))),
            ]
        ),
        "TensorDataset": TensorDataset(floats, torch.tensor(["ab".index(own) for own in labels])),
        "CIFAR10": CifarLike(arrays, labels),
    }


WITH_LABELS = {
    "pairs",
    "pairs of tensors",
    "mappings",
    "generator of pairs",
    "stream",
    "Subset",
    "ConcatDataset",
}
WITH_LABELS |= {"ImageFolder", "ImageFolder, ToTensor", "ImageFolder, v2", "CIFAR10"}
KINDS = [
    "pillow", "arrays", "one array", "tensors of uint8", "tensors of floats", "one tensor of uint8",
    "one tensor of floats", "pairs", "pairs of tensors", "mappings", "paths", "generator", "generator of pairs",
    "stream", "ImageFolder", "ImageFolder, ToTensor", "ImageFolder, v2", "Subset", "ConcatDataset", "TensorDataset",
    "CIFAR10",
]  # fmt: skip


@pytest.fixture(scope="module")
def from_files(tmp_path_factory):
    folder = make_pictures(tmp_path_factory.mktemp("files") / "pictures", 14)
    return folder, _built(folder, folder.parent / "files.atlas")


def _built(images, path):
    net = captured_small_net(PREPROCESSING)
    backlight.build(
        net, images, path, ["relu2", "fc"], top=3, maps=4, batch_size=4, compile="off", bands=True
    )
    return _rows(path)


def _rows(path):
    """Return all rows of an atlas but those of names: hits, values, boxes, tiles, statistics, sizes of images."""
    with sqlite3.connect(path) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        kept = sorted(set(tables) - {"meta", "checksum", "image"})
        found = {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in kept}
        found["image"] = connection.execute(
            "SELECT image_id, height, width FROM image ORDER BY image_id"
        ).fetchall()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_makes_the_atlas_that_the_files_make(kind, from_files, tmp_path):
    folder, expected = from_files
    found = _built(_kinds(folder)[kind], tmp_path / "own.atlas")
    assert found.keys() == expected.keys()
    for table, rows in expected.items():
        assert found[table] == rows, table
    assert len(expected["hit"]) > 10
    atlas = backlight.open_atlas(tmp_path / "own.atlas")
    labels = {image.label for image in map(atlas.images.__getitem__, range(14))}
    assert labels == (
        {"a", "b"} if kind in WITH_LABELS else {"0", "1"} if kind == "TensorDataset" else {None}
    )


def test_every_kind_is_in_the_list(from_files):
    assert list(_kinds(from_files[0])) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_a_network_the_same_inputs(kind, from_files):
    folder, _ = from_files
    net = captured_small_net(PREPROCESSING)
    expected = net.prepare([folder / record.path for record in open_images(folder).records])
    given = _kinds(folder)[kind]
    if kind == "one tensor of floats":  # to a network, a tensor of floats is inputs
        with pytest.raises(BadInputError, match="captured for inputs of 3x32x32, got 14x3x40x48"):
            net.prepare(given)
        return
    assert torch.equal(net.prepare(given), expected)


def test_what_takes_pictures_takes_datasets(from_files):
    net, dataset = captured_small_net(PREPROCESSING), ImageFolder(from_files[0], transforms.ToTensor())
    inputs = net.prepare(dataset)
    units = backlight.strongest(net, dataset, "relu2", 3)
    assert units == backlight.strongest(net, inputs, "relu2", 3)
    assert torch.equal(
        backlight.project(net, dataset[5], units[5]), backlight.project(net, inputs[5], units[5])
    )
    assert torch.equal(
        backlight.superpose(net, dataset[5], "relu2"), backlight.superpose(net, inputs[5], "relu2")
    )
    as_array = np.asarray(ImageFolder(from_files[0])[2][0])
    for given in (dataset[2], as_array, torch.from_numpy(as_array.copy()).permute(2, 0, 1)):
        assert not is_layer_code(net, given)  # `invert` takes it as an image
        assert torch.equal(one_image(net, given), inputs[2:3])
    scanned, own = (backlight.scan(net, given, ["relu2"], compile="off") for given in (dataset, inputs))
    assert np.array_equal(scanned.layers["relu2"].hits.values, own.layers["relu2"].hits.values)


def test_adaptive_networks_take_datasets(from_files):
    dataset = ImageFolder(from_files[0])
    net = backlight.adaptive.AdaptiveDeconvNet(backlight.adaptive.PRESETS["small"])
    expected = net.prepare([from_files[0] / record.path for record in open_images(from_files[0]).records])
    assert torch.equal(net.prepare(dataset), expected)
    assert torch.equal(net.prepare(dataset[3]), expected[3:4])
    assert torch.equal(net.prepare(transforms.functional.pil_to_tensor(dataset[3][0])), expected[3:4])


def test_sources():
    picture = Image.new("RGB", (4, 3), "red")
    assert type(memory_source([picture])) is SequenceSource
    assert type(memory_source(TensorDataset(torch.rand(1, 3, 2, 2)))) is MapSource
    assert memory_source((picture, 4)).records[0].label == "4"
    assert memory_source({"image": picture, "label": "owl"}).records[0].label == "owl"
    assert len(memory_source((picture, picture))) == 2
    assert listed_images(iter([picture, picture, picture]), most=2) == [picture] * 2
    assert listed_images("a.png") == ["a.png"]
    assert listed_images(["a.png", "b.png"]) == ["a.png", "b.png"]


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (DataLoader(TensorDataset(torch.rand(2, 3, 4, 4))), r"got a DataLoader; give its Dataset instead: loader"),
        (iter([]), "^got no images; give at least one$"),
        (torch.full((2, 3, 4, 4), 3.0), "the images given: a tensor with values from 3 to 3.* before Normalize"),
        ([(torch.full((3, 4, 4), -1.0), 0)], "the images given: a tensor with values from -1 to -1"),
        ({"a": 1}, "or a torch Dataset, got dict$"),
        (3, "or a torch Dataset, got int$"),
        ([3], "image 0 of the sequence is a int; give Pillow images, arrays, tensors"),
    ],
)  # fmt: skip
def test_what_is_refused(given, message):
    for take in (memory_source, listed_images):
        if take is listed_images and not isinstance(given, list | torch.Tensor | DataLoader):
            continue
        with pytest.raises(BadInputError, match=message):
            take(given)


@pytest.mark.parametrize("n", [1, 9, 100])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_a_stack_of_grey_pictures_is_as_many_as_its_first_axis(n, make):
    stack = np.random.default_rng(0).integers(0, 256, (n, 12, 10), np.uint8)
    source = open_images(make(stack))
    assert len(source) == n == len(listed_images(make(stack)))
    for i in {0, n - 1}:
        assert np.array_equal(np.asarray(source.load(i).convert("L")), stack[i])
    assert len(listed_images(make(stack), most=5)) == min(n, 5)


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        (np.zeros((3, 12, 10)), r"3 grey ones; numpy\.moveaxis\(array, 0, -1\).*array\[\.\.\., None\]"),
        (torch.zeros(9, 12, 3), r"9 grey ones; tensor\.permute\(2, 0, 1\).*tensor\[:, None\]"),
    ],
    ids=["array", "tensor"],
)
def test_what_may_be_one_colour_picture_or_several_grey_ones_is_refused_with_the_ways_to_write_it(
    given, way_out
):
    for take in (open_images, listed_images):
        with pytest.raises(BadInputError, match=way_out):
            take(given)


def test_the_ways_to_write_it_are_understood():
    array, tensor = np.zeros((3, 12, 10), np.uint8), torch.zeros(9, 12, 3)
    ways = [np.moveaxis(array, 0, -1), array[..., None], tensor.permute(2, 0, 1), tensor[:, None]]
    assert [len(open_images(own)) for own in ways] == [1, 3, 1, 9]
