"""The search for the strongest activations: equal to its replica in loops, whatever the batches; ties, signs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.adaptive import (
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    Codes,
    ContrastNormalisation,
    HitSearch,
    LayerConfig,
    find_hits,
)
from backlight.adaptive.inputs import picture
from backlight.adaptive.operators import Reconstruction
from backlight.errors import ActivationError, BadInputError
from backlight.geometry import Box
from backlight.images import SequenceSource, open_images

TWO = AdaptiveConfig(
    (
        LayerConfig(5, filter=3, block=Block(2, 2, 2), weight=20.0),
        LayerConfig(4, filter=3, block=Block(2, 2, 1), weight=20.0),
    ),
    size=(21, 26),
)

ONE = AdaptiveConfig(
    (LayerConfig(2, filter=3, block=Block(), weight=50.0),), size=(20, 20), contrast=None, steps=1
)


def noise(count: int, size: tuple[int, int] = TWO.size) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 1, *size)).astype(np.float32)


def two_layers(images: np.ndarray) -> AdaptiveDeconvNet:
    net = AdaptiveDeconvNet(TWO, seed=3)
    net.estimate_norms(torch.from_numpy(images))
    return net


def expected(codes: list[Codes], layer: int, channel: int, top: int) -> list[tuple[float, int, int, int]]:
    """The strongest of each image, then the strongest of those, in loops."""
    found = []
    for image_id, own in enumerate(codes):
        best = (0.0, -1, -1)
        for row, values in enumerate(own[layer].maps[0, channel].tolist()):
            for col, value in enumerate(values):
                if abs(value) > abs(best[0]):
                    best = (value, row, col)
        if best[0]:
            found.append((best[0], image_id, *best[1:]))
    return sorted(found, key=lambda hit: (-abs(hit[0]), hit[1]))[:top]


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_hits_are_those_of_the_replica(batch: int) -> None:
    images = noise(7)
    net = two_layers(images)
    codes = [net.infer(torch.from_numpy(image), values="shrunk") for image in images]
    found = find_hits(net, images, HitSearch(top=4, batch=batch))
    assert [(own.layer, own.channel) for own in found.maps] == [(1, c) for c in range(5)] + [
        (2, c) for c in range(4)
    ]
    for own in found.maps:
        wanted = expected(codes, own.layer, own.channel, 4)
        assert len(wanted) == 4
        assert [(hit.image_id, hit.row, hit.col) for hit in own.hits] == [hit[1:] for hit in wanted]
        np.testing.assert_allclose([hit.value for hit in own.hits], [hit[0] for hit in wanted], rtol=1e-4)


def test_projections_are_by_the_switches_of_their_own_image_and_lie_in_their_box() -> None:
    images = noise(5)
    net = two_layers(images)
    found = find_hits(net, images, HitSearch(top=2))
    for own in found.maps:
        for hit in own.hits:
            codes = net.infer(torch.from_numpy(images[hit.image_id]), own.layer, values="shrunk")
            code = codes[own.layer]
            alone = torch.zeros(1, *code.shape)
            alone[0, own.channel, hit.row, hit.col] = hit.value
            painted = Reconstruction(net.filters[: own.layer], codes.below(own.layer))(alone)[0]
            whole = painted.numpy().transpose(1, 2, 0)
            inside = hit.box.clip(*TWO.size).slices()
            np.testing.assert_allclose(hit.projection, whole[inside], atol=1e-5)
            whole[inside] = 0
            assert not whole.any()
            assert hit.patch.shape == (*hit.projection.shape[:2], 3)
            assert hit.projection.any()


def impulses(*places: tuple[int, int, int, float]) -> np.ndarray:
    images = np.zeros((3, 1, *ONE.size), np.float32)
    for image, row, col, value in places:
        images[image, 0, row, col] = value
    return images


def test_order_is_by_magnitude_then_image_then_row_then_column() -> None:
    images = impulses((0, 12, 5, 1.0), (1, 12, 5, -2.0), (2, 12, 5, 2.0), (2, 5, 9, 2.0), (2, 5, 13, 2.0))
    net = AdaptiveDeconvNet(ONE, seed=1)
    net.squared_norms.fill_(2.0)
    for own in find_hits(net, images).maps:
        assert [hit.image_id for hit in own.hits] == [1, 2, 0]
        first, second, third = own.hits
        assert first.value == -second.value
        assert abs(third.value) < abs(first.value)
        assert (second.row - first.row, second.col - first.col) == (
            -7,
            4,
        )  # row 5 before 12, column 9 before 13
        np.testing.assert_array_equal(first.projection, -second.projection)


def test_images_without_activation_are_no_hits() -> None:
    net = AdaptiveDeconvNet(ONE)
    net.squared_norms.fill_(2.0)
    assert [own.hits for own in find_hits(net, impulses()).maps] == [(), ()]
    some = find_hits(net, impulses((1, 4, 4, 3.0)))
    assert [[hit.image_id for hit in own.hits] for own in some.maps] == [[1], [1]]


def test_a_source_gives_patches_and_skips_what_cannot_be_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_text("no picture")
    net, source = AdaptiveDeconvNet(TWO), open_images(tmp_path)
    told: list[tuple[str, int, int]] = []

    def tell(phase: str, done: int, total: int) -> None:
        told.append((phase, done, total))

    found = find_hits(net, source, HitSearch((1,), batch=2), [0, 1, 3], tell)
    assert told == [("search", 2, 3), ("search", 3, 3)]
    assert (found.n_images, found.image_size) == (2, TWO.size)
    assert [(skipped.id, skipped.path) for skipped in found.skipped] == [(1, "1.png")]
    for own in found.of(1):
        assert {hit.image_id for hit in own.hits} == {0, 3}
        for hit in own.hits:
            pixels = np.array(picture(TWO, source.load(hit.image_id)).convert("RGB"))
            np.testing.assert_array_equal(hit.patch, pixels[hit.box.clip(*TWO.size).slices()])


def test_a_picture_too_narrow_to_normalise_is_skipped_like_one_that_cannot_be_read() -> None:
    config = replace(TWO, contrast=ContrastNormalisation())
    wide, narrow = Image.new("L", (40, 40), 90), Image.new("L", (400, 2), 90)
    found = find_hits(AdaptiveDeconvNet(config), SequenceSource([narrow, wide]), HitSearch((1,)))
    assert (found.n_images, [one.id for one in found.skipped]) == (1, [0])
    assert "cannot mirror" in found.skipped[0].reason


def test_a_field_larger_than_the_image_is_the_whole_image() -> None:
    layers = tuple(LayerConfig(2, filter=5, block=Block(4, 4, 1), weight=20.0) for _ in range(2))
    net = AdaptiveDeconvNet(AdaptiveConfig(layers, size=(16, 16)))
    found = find_hits(net, noise(2, (16, 16)), HitSearch((2,)))
    box = found.maps[0].hits[0].box
    assert (box.height, box.width) == (24, 24)
    inside = box.clip(16, 16)
    assert found.maps[0].hits[0].projection.shape == (inside.height, inside.width, 1)
    assert Box(0, 0, 16, 16).contains(inside)


def test_only_the_layers_and_maps_asked_for_are_searched() -> None:
    images = noise(3)
    found = find_hits(two_layers(images), images, HitSearch((2,), (3, 1)), ids=[2, 0])
    assert [(own.layer, own.channel) for own in found.maps] == [(2, 1), (2, 3)]
    assert {hit.image_id for own in found.maps for hit in own.hits} == {0, 2}
    with pytest.raises(BadInputError, match="layers 2 were searched, but layer 1 was asked for"):
        found.of(1)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"top": 0}, "top, batch and the number of maps must be at least 1"),
        ({"batch": 0}, "top, batch and the number of maps must be at least 1"),
        ({"maps": 0}, "top, batch and the number of maps must be at least 1"),
        ({"seed": -1}, "the seed at least 0"),
        ({"layers": ()}, "needs at least 1 layer and 1 map, got none"),
        ({"maps": ()}, "needs at least 1 layer and 1 map, got none"),
        ({"layers": (3,)}, "layer 3 is out of range for a network of 2 layers, from 1"),
        ({"layers": (0,)}, "layer 0 is out of range"),
        ({"maps": (4,)}, r"map 4 is out of range for layer 2 \(4 feature maps, from 0\)"),
    ],
)
def test_what_cannot_be_searched_is_refused(wanted: dict[str, object], text: str) -> None:
    with pytest.raises(BadInputError, match=text):
        find_hits(AdaptiveDeconvNet(TWO), noise(2), HitSearch(**wanted))  # type: ignore[arg-type]


def test_images_that_are_not_there_are_refused(tmp_path: Path) -> None:
    net = AdaptiveDeconvNet(TWO)
    for ids in ([], [2], [-1]):
        with pytest.raises(BadInputError, match="at least 1 image with an id from 0 to 1, got"):
            find_hits(net, noise(2), ids=ids)
    (tmp_path / "bad.png").write_text("none")
    with pytest.raises(BadInputError, match="none of the 1 images can be read; the first: "):
        find_hits(net, SequenceSource([tmp_path / "bad.png"]))


def test_codes_that_are_not_finite_are_named() -> None:
    net = AdaptiveDeconvNet(TWO)
    net.squared_norms.fill_(1e-30)
    with pytest.raises(ActivationError, match="the codes of layer 1 are not finite"):
        find_hits(net, noise(2), HitSearch((1,)))
