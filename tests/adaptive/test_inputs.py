"""Inputs: pictures keep their proportions, become gray and are padded with zeros; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.adaptive import (
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    ContrastNormalisation,
    LayerConfig,
    Learning,
    prepare_all,
)
from backlight.adaptive.inputs import picture, prepare
from backlight.errors import BadInputError, ImageError, RangeWarning
from backlight.images import FileSource, SequenceSource
from conftest import make_pictures
from replicas.compare import differ, same, same_bits

LAYER = LayerConfig(2, filter=5, block=Block(2, 2))
GRAY = AdaptiveConfig((LAYER,), size=(30, 24), contrast=ContrastNormalisation(5, 1.5))
COLOUR = AdaptiveConfig((LAYER,), channels=3, size=(30, 24), contrast=None)


def photograph(height: int, width: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize(
    "height, width, box",
    [
        (60, 60, (3, 0, 27, 24)),  # as wide as fits
        (40, 16, (0, 6, 30, 18)),  # as high as fits
        (20, 80, (12, 0, 18, 24)),
        (5, 4, (0, 0, 30, 24)),  # enlarged
        (20, 70, (11, 0, 18, 24)),  # 7 rows: the odd row of zeros is below
    ],
)
def test_pictures_keep_their_proportions_in_the_middle_of_zeros(
    height: int, width: int, box: tuple[int, int, int, int]
) -> None:
    found = prepare(GRAY, photograph(height, width))
    assert found.shape == (1, 1, 30, 24)
    top, left, bottom, right = box
    inside = torch.zeros(30, 24, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    assert (found[0, 0][~inside] == 0).all()
    assert (found[0, 0][inside] != 0).float().mean() > 0.99


def test_contrast_is_normalised_before_the_zeros_come_around() -> None:
    image = photograph(12, 24)
    found = prepare(GRAY, image)
    values = torch.from_numpy(np.array(image.convert("L"), np.float32))[None, None]
    same(found[:, :, 9:21], ContrastNormalisation(5, 1.5)(values), 1e-5)
    whole = torch.nn.functional.pad(values, (0, 0, 9, 9))
    differ(ContrastNormalisation(5, 1.5)(whole)[:, :, 9:21], found[:, :, 9:21], 0.1)


def test_without_normalisation_pixels_stay_as_they_are() -> None:
    image = photograph(30, 24)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    same_bits(prepare(COLOUR, image)[0], expected)


def test_16_bit_pictures_keep_their_grey_levels_and_one_that_is_nearly_flat_is_told() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (30, 24), dtype=np.uint16)
    plain = AdaptiveConfig((LAYER,), size=(30, 24), contrast=None)
    found = prepare(plain, Image.fromarray(deep))
    same(found[0, 0], torch.from_numpy(deep / 257).float(), 1e-6)
    assert len(found.unique()) == len(np.unique(deep))
    same(prepare(plain, deep), found, 0)
    with pytest.warns(RangeWarning, match="nearly all values of 1 picture lie in .* nearly flat$"):
        dark = prepare(plain, deep // 16)
    assert len(dark.unique()) > 256
    assert picture(plain, Image.fromarray(deep)).mode == "L"


def test_a_picture_without_a_known_range_is_skipped_for_its_reason() -> None:
    source = SequenceSource([np.array([[-5, 7]], np.int16), photograph(30, 24)])
    found = prepare_all(COLOUR, source, range(2), 10**9)
    assert found.ids == (1,)
    assert "integers from -5 to 7" in found.skipped[0].reason


def test_colour_pictures_are_turned_gray_and_gray_ones_into_colour() -> None:
    image = photograph(30, 24)
    same_bits(prepare(GRAY, image), prepare(GRAY, image.convert("L")))
    found = prepare(COLOUR, image.convert("L"))
    same_bits(found[:, 0], found[:, 2])


def test_pictures_come_as_paths_and_lists(tmp_path: Path) -> None:
    images = [photograph(30, 24, 1), photograph(20, 20, 2)]
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
    paths = [tmp_path / "0.png", str(tmp_path / "1.png")]
    same_bits(prepare(GRAY, paths), prepare(GRAY, images))
    same_bits(prepare(GRAY, paths[1]), prepare(GRAY, images)[1:])


def test_tensors_are_taken_as_they_are() -> None:
    images = torch.randn(2, 1, 9, 50)
    same_bits(prepare(GRAY, images), images)
    same_bits(prepare(GRAY, images[0]), images[:1])


def test_the_picture_shown_is_the_one_prepared() -> None:
    image = photograph(12, 24)
    shown = picture(GRAY, image)
    assert (shown.mode, shown.size) == ("L", (24, 30))
    assert np.array_equal(np.array(shown)[9:21], np.array(image.convert("L")))
    assert set(np.array(shown)[:9].flat) == {128}
    assert picture(COLOUR, image).getpixel((0, 0)) == (128, 128, 128)


def test_tensors_of_other_channels_are_refused() -> None:
    with pytest.raises(
        BadInputError, match=r"takes gray images, 1 channel, got 3; pass pictures.*channels=3"
    ):
        prepare(GRAY, torch.randn(2, 3, 30, 24))
    with pytest.raises(BadInputError, match="takes colour images, 3 channels, got 1"):
        prepare(COLOUR, torch.randn(1, 30, 24))


def test_tensors_that_are_no_images_are_refused() -> None:
    for shape in [(30, 24), (0, 1, 30, 24), (1, 1, 1, 30, 24)]:
        with pytest.raises(
            BadInputError, match=r"images must be \(n, c, h, w\) or \(c, h, w\), at least one, got"
        ):
            prepare(GRAY, torch.randn(shape))
    with pytest.raises(BadInputError, match="images of 4x24 are smaller than its filters of 5x5"):
        prepare(GRAY, torch.randn(1, 4, 24))
    assert prepare(GRAY, torch.randn(1, 5, 5)).shape == (1, 1, 5, 5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    images = torch.randn(2, 1, 30, 24)
    images[1, 0, 3, 3] = value
    with pytest.raises(BadInputError, match="the images hold NaN or infinite values"):
        prepare(GRAY, images)


def test_no_pictures_and_pictures_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="needs at least 1 image, got none"):
        prepare(GRAY, [])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"bad\.png': not an image in a format that Pillow reads"):
        prepare(GRAY, tmp_path / "bad.png")
    with pytest.raises(ImageError, match="no such file"):
        prepare(GRAY, [photograph(30, 24), tmp_path / "no.png"])
    with pytest.raises(ImageError, match="windows of 5 pixels, which an image of 1x24 cannot mirror"):
        prepare(GRAY, photograph(2, 60))


@pytest.mark.parametrize("shape", [(3, 30, 24), (30, 24)])
def test_arrays_of_another_kind_are_refused_by_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match=r"an array of images must be \(n, c, h, w\), got"):
        AdaptiveDeconvNet(GRAY).fit(np.zeros(shape, np.float32))


def test_arrays_without_images_and_of_other_channels_are_refused_by_fit() -> None:
    with pytest.raises(BadInputError, match="at least one, got"):
        AdaptiveDeconvNet(GRAY).fit(np.zeros((0, 1, 30, 24), np.float32))
    with pytest.raises(BadInputError, match="takes gray images, 1 channel, got 3"):
        AdaptiveDeconvNet(GRAY).fit(np.zeros((2, 3, 30, 24), np.float32))


def test_arrays_of_doubles_are_learned_as_their_floats() -> None:
    images = np.random.default_rng(0).standard_normal((2, 1, 9, 9))
    one, other = AdaptiveDeconvNet(GRAY), AdaptiveDeconvNet(GRAY)
    learning = Learning(epochs=1, sample=1)
    assert one.fit(images, learning) == other.fit(torch.from_numpy(images), learning)
    same_bits(one.filters[0], other.filters[0])


def source(folder: Path) -> FileSource:
    files = sorted(str(own.relative_to(folder)) for own in folder.rglob("*.png"))
    return FileSource("some", folder, files)


@pytest.mark.parametrize("memory_bytes", [0, 1 << 20])
def test_a_source_is_prepared_and_what_cannot_be_read_is_listed(tmp_path: Path, memory_bytes: int) -> None:
    folder = make_pictures(tmp_path, 4)
    (folder / "a" / "001.png").write_bytes(b"no picture")
    Image.new("RGB", (900, 10)).save(folder / "a" / "003.png")
    told: list[tuple[str, int, int]] = []
    own = source(folder)
    found = prepare_all(GRAY, own, range(len(own)), memory_bytes, lambda *step: told.append(step))
    paths = [record.path for record in own.records]
    assert paths[1:4] == ["a/001.png", "a/002.png", "a/003.png"]
    assert found.ids == (0, 2, 4, 5)
    assert [(one.path, one.reason) for one in found.skipped] == [
        ("a/001.png", "not an image in a format that Pillow reads"),
        ("a/003.png", found.skipped[1].reason),
    ]
    assert "cannot mirror" in found.skipped[1].reason
    assert told == [("prepare", done, 6) for done in range(1, 7)]
    assert isinstance(found.array, np.memmap) == (memory_bytes == 0)
    expected = prepare(GRAY, [folder / paths[i] for i in found.ids])
    assert np.array_equal(found.array, expected.numpy())


def test_some_images_of_a_source() -> None:
    own = SequenceSource([photograph(30, 24, i) for i in range(4)])
    found = prepare_all(GRAY, own, [3, 1], 1 << 20)
    assert (found.ids, found.skipped) == ((3, 1), ())
    same_bits(torch.from_numpy(found.array), prepare(GRAY, [photograph(30, 24, 3), photograph(30, 24, 1)]))


def test_a_source_without_any_image_that_can_be_read_is_refused(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(
        BadInputError, match=r"none of the 2 images of 'some' can be read; the first: 0\.png: the file is"
    ):
        prepare_all(GRAY, source(tmp_path), [0, 1], 1 << 20)
    with pytest.raises(BadInputError, match=r"none of the 0 images of 'some' can be read$"):
        prepare_all(GRAY, source(tmp_path), [], 1 << 20)
