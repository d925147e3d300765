"""Correspondence: the measure by hand, a planted part is found, controls are controls, boxes go through the crop."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import ExifTags, Image
from torch import nn
from typer.testing import CliRunner

import backlight
from backlight.cli.correspond import correspond
from backlight.errors import BadInputError, ImageError, UnknownLayerError
from backlight.geometry import Box
from backlight.studies.correspondence import Correspondence, CorrespondenceConfig, default_layers, run
from backlight.studies.correspondence.masking import CONTROL_MASKS, Scene, SignDifferences, sign_differences
from backlight.studies.correspondence.parts import MarkedImage, read_parts, seen_box
from backlight.studies.correspondence.placing import free_places, random_boxes, shifted_boxes
from conftest import SmallNet

SIZE, PATCH = 32, 7
GREY = 0.5, 0.5, 0.5
AS_IS = backlight.Preprocessing(None, (SIZE, SIZE), GREY, (0.25, 0.25, 0.25))


# --- the measure ------------------------------------------------------------------------------------------------


def test_signs_are_compared_by_hand() -> None:
    signs = np.array([[1, -1, 0, 0, 1], [1, 1, 0, -1, 0], [0, 0, 0, 0, 0]], np.int8)
    # rows 0, 1: they differ in entries 1, 3, 4, and entry 2 is 0 in both; 0, 2: in 0, 1, 4; 1, 2: in 0, 1, 3
    np.testing.assert_allclose(sign_differences(signs), [[3 / 5, 3 / 5, 3 / 5], [3 / 4, 1, 1]])


def test_where_nothing_changes_all_entries_agree_and_none_is_compared() -> None:
    found = sign_differences(np.zeros((2, 4), np.int8))
    assert found[0, 0] == 0
    assert np.isnan(found[1, 0])


def test_opposite_signs_count_once_and_an_even_entry_counts_as_a_sign() -> None:
    np.testing.assert_array_equal(sign_differences(np.array([[1], [-1]], np.int8)), [[1], [1]])
    np.testing.assert_array_equal(sign_differences(np.array([[1, 0], [1, 0]], np.int8)), [[0], [0]])


def test_a_study_gives_what_a_loop_over_its_definition_gives() -> None:
    generator = np.random.default_rng(2)
    marked = [
        MarkedImage(
            f"{i}", Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)), {"a": box}
        )
        for i, box in enumerate([Box(0, 0, 4, 5), Box(9, 3, 20, 9), Box(20, 20, 32, 32), Box(1, 20, 4, 30)])
    ]
    net = backlight.capture(SmallNet(), (3, SIZE, SIZE), AS_IS)
    result = run(net, marked, ["relu1", "fc"], CorrespondenceConfig(n_random=1))
    for layer in result.layers:
        signs = []
        for own in marked:
            x = net.prepare([own.image])
            masked = x.clone()
            rows, cols = own.boxes["a"].slices()
            for channel in range(3):
                masked[0, channel, rows, cols] = x[0, channel].mean()
            features = net.features([net.layer(layer)])
            change = (features(x)[0] - features(masked)[0]).detach().numpy().ravel()
            signs.append([0 if abs(v) < 1e-6 else 1 if v > 0 else -1 for v in change])
        shares = []
        for i in range(4):
            for j in range(i + 1, 4):
                shares.append(sum(a != b for a, b in zip(signs[i], signs[j], strict=True)) / len(signs[0]))
        np.testing.assert_allclose(result.pair_values(layer, "a"), shares, atol=1e-12)
        np.testing.assert_allclose(result.delta(layer, "a"), [np.mean(shares), np.std(shares)], atol=1e-12)
    assert result.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


def test_units_that_the_mask_does_not_reach_have_the_sign_zero() -> None:
    generator = np.random.default_rng(3)
    pictures = [Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)) for _ in range(2)]
    marked = [MarkedImage(str(i), p, {"corner": Box(0, 0, 4, 4)}) for i, p in enumerate(pictures)]
    model = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Sigmoid())
    net = backlight.capture(model, (3, SIZE, SIZE), AS_IS)
    study = SignDifferences(net, [net.layer("1")], Scene(net, marked, "mean", 0))
    (signs,) = study._signs(0, next(study._vectors([(0, Box(0, 0, 4, 4))])))
    reached = np.zeros((2, SIZE, SIZE), bool)
    reached[:, :5, :5] = True
    np.testing.assert_array_equal(signs.reshape(2, SIZE, SIZE) != 0, reached)


def test_a_mask_of_the_images_own_colour_moves_nothing_but_roundings() -> None:
    whole = {"any": Box(4, 4, 20, 20)}
    marked = [MarkedImage(str(i), Image.new("RGB", (SIZE, SIZE), (5, 10, 30)), whole) for i in range(2)]
    net = backlight.capture(SmallNet(), (3, SIZE, SIZE), AS_IS)
    scene = Scene(net, marked, "mean", 0)
    assert not torch.equal(scene.masked(0, None), scene.masked(0, whole["any"]))  # the mean is rounded
    result = run(net, marked, ["conv1", "fc"], CorrespondenceConfig(n_random=1))
    assert (result.differs[0] == 0).all()
    assert np.isnan(result.differs[1]).all()


# --- planted truth ----------------------------------------------------------------------------------------------


class Detector(nn.Module):
    """A matched filter, and filters of any kind that stay above their threshold; averaged over places."""

    def __init__(self, patch: torch.Tensor) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, 24, PATCH)
        self.fc = nn.Linear(24, 3)
        with torch.no_grad():
            self.filters.weight[0] = patch / patch.square().sum()
            self.filters.bias.fill_(3.0)
            self.filters.bias[0] = -0.3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.filters(x)).mean((2, 3)))


def _planted(seed: int) -> tuple[backlight.Network, list[MarkedImage]]:
    """Return a network that knows a patch, and noise images with the patch at different places."""
    generator = np.random.default_rng(seed)
    patch = generator.choice([40, 200, 255], (PATCH, PATCH, 3)).astype(np.uint8)
    marked = []
    for i, (row, col) in enumerate([(2, 3), (9, 2), (4, 10), (11, 8), (7, 6)]):
        image = generator.integers(60, 200, (SIZE, SIZE, 3), np.uint8)
        image[row : row + PATCH, col : col + PATCH] = patch
        marked.append(
            MarkedImage(
                f"{i}.png", Image.fromarray(image), {"patch": Box(row, col, row + PATCH, col + PATCH)}
            )
        )
    known = torch.from_numpy(patch / 255.0 - 0.5).permute(2, 0, 1).float() * 4
    return backlight.capture(Detector(known), (3, SIZE, SIZE), AS_IS), marked


def test_a_planted_patch_corresponds_and_the_shifted_control_tells_what_is_only_its_place() -> None:
    net, marked = _planted(0)
    assert default_layers(net) == ["relu", "mean"]
    result = run(net, marked, config=CorrespondenceConfig(n_random=99))
    for entries in ("all", "changed"):
        assert result.delta("mean", "patch", entries)[0] < 0.5 * result.control("mean", "patch", entries)[0]
        assert result.p_value("mean", "patch", entries) == 0.01
        assert result.control("mean", "patch", entries)[0] > 0.2
    assert result.p_value("mean", "patch", "all", "shifted") < 0.05
    # the patches lie near to each other: where places are kept, boxes anywhere differ more, but not shifted boxes
    assert result.p_value("relu", "patch", "changed") < 0.05
    assert result.p_value("relu", "patch", "changed", "shifted") > 0.05
    found = result.summary()["mean"]["patch"]["all"]
    assert found["n_pairs"] == 10
    assert found["random"]["n_draws"] == 99
    assert found["random"]["p_value"] == 0.01


def test_boxes_at_random_are_no_parts_to_a_random_network() -> None:
    net = backlight.capture(SmallNet(), (3, SIZE, SIZE), AS_IS)
    found: dict[str, list[float]] = {control: [] for control in CONTROL_MASKS}
    for seed in range(24):
        generator = np.random.default_rng(seed)
        marked = []
        for i in range(3):
            picture = generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            top, left = generator.integers(0, SIZE - PATCH, 2).tolist()
            box = Box(top, left, top + PATCH, left + PATCH)
            marked.append(MarkedImage(str(i), Image.fromarray(picture), {"any": box}))
        result = run(net, marked, ["mean"], CorrespondenceConfig(n_random=19, seed=seed))
        for control in CONTROL_MASKS:
            found[control].append(result.p_value("mean", "any", "all", control))
    for values in found.values():
        assert 0.35 < np.mean(values) < 0.75
        assert np.mean(np.array(values) <= 0.1) < 0.3
        assert np.mean(np.array(values) > 0.5) > 0.25


def test_a_p_value_is_the_rank_among_the_draws_and_ties_count_against_the_part() -> None:
    net, marked = _planted(0)
    result = run(net, marked[:3], ["mean"], CorrespondenceConfig(n_random=4))
    differs = np.full((2, 1, 1, 3), np.nan)
    differs[0, 0, 0] = [0.1, 0.3, np.nan]
    deltas = np.zeros((2, 2, 1, 1, 4))
    deltas[0, 0, 0, 0] = [0.1, 0.2, 0.3, 0.4]
    deltas[1, 0, 0, 0] = [0.3, 0.3, np.nan, np.nan]
    by_hand = replace(result, differs=differs, control_deltas=deltas)
    np.testing.assert_allclose(by_hand.delta("mean", "patch"), [0.2, 0.1])
    assert by_hand.p_value("mean", "patch") == 3 / 5
    assert by_hand.p_value("mean", "patch", "all", "shifted") == 1 / 3
    np.testing.assert_allclose(by_hand.control("mean", "patch", "all", "shifted")[0], 0.3)
    assert by_hand.p_value("mean", "patch", "changed") is None
    assert by_hand.summary()["mean"]["patch"]["changed"]["delta"] is None


def test_parts_that_some_images_lack_use_those_that_have_them(tmp_path: Path) -> None:
    net, marked = _planted(1)
    marked = [
        replace(m, boxes=dict(m.boxes) | ({"other": Box(0, 28, 3, 32)} if i in (1, 3) else {}))
        for i, m in enumerate(marked)
    ]
    result = run(net, marked, ["mean"], CorrespondenceConfig(n_random=2))
    assert result.parts == ("patch", "other")
    assert len(result.pair_values("mean", "other")) == 1
    shared = result.pairs.tolist().index([1, 3])
    assert np.flatnonzero(~np.isnan(result.differs[0, 0, 1])).tolist() == [shared]
    assert result.boxes[1].tolist() == [[-1] * 4, [0, 28, 3, 32], [-1] * 4, [0, 28, 3, 32], [-1] * 4]
    pair_only = run(net, [marked[1], marked[3]], ["mean"], CorrespondenceConfig(n_random=2))
    np.testing.assert_array_equal(pair_only.pair_values("mean", "other"), result.pair_values("mean", "other"))


def test_a_result_comes_again_with_its_seed_whatever_the_batch_and_comes_back_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, marked = _planted(2)
    config = CorrespondenceConfig(n_random=3, fill="noise", seed=5)
    steps: list[tuple[str, int, int]] = []
    first = run(net, marked, config=config, progress=lambda *step: steps.append(step))
    monkeypatch.setattr("backlight.studies.correspondence.masking.MOST_IMAGES", 7)
    second = run(net, marked, config=config)
    for name in ("differs", "control_deltas", "control_spreads"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-12)
    other = run(net, marked, config=CorrespondenceConfig(n_random=3, fill="noise", seed=6))
    assert not np.array_equal(first.control_deltas, other.control_deltas)
    first.save(tmp_path / "found")
    back = Correspondence.load(tmp_path / "found")
    assert back.summary() == first.summary()
    assert (back.config, back.network, back.images) == (config, "Detector", first.images)
    np.testing.assert_array_equal(back.pictures, first.pictures)
    assert back._repr_png_().startswith(b"\x89PNG")
    assert {step[0] for step in steps} == {"correspondence"}
    assert all(a[1] < b[1] for a, b in pairwise(steps))
    assert steps[-1][1] == steps[-1][2] == 5 * (1 + 3 + 3)


def test_the_figure_shows_many_images_and_one_layer_too() -> None:
    net, marked = _planted(3)
    many = [replace(m, name=f"{k}-{m.name}") for k in range(4) for m in marked]
    result = run(net, many, ["mean"], CorrespondenceConfig(n_random=1))
    figure = result.plot()
    note = " ".join(figure.get_supxlabel().split())
    assert "first 16 images" in note
    assert "Masked with the image's mean colour." in note
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["patch"]


def test_without_a_linear_output_the_last_three_default_layers_are_taken() -> None:
    layers = [layer for _ in range(4) for layer in (nn.Conv2d(3, 3, 3), nn.ReLU())]
    net = backlight.capture(nn.Sequential(*layers), (3, SIZE, SIZE), AS_IS)
    assert default_layers(net) == ["3", "5", "7"]
    with pytest.raises(BadInputError, match="has no feature maps to take by default; name layers"):
        default_layers(backlight.capture(nn.AvgPool2d(2), (3, SIZE, SIZE), AS_IS))


# --- where masks lie --------------------------------------------------------------------------------------------


def _boxes(generator: np.random.Generator, height: int, width: int, count: int, least: int = 1) -> list[Box]:
    found = []
    for _ in range(count):
        rows, cols = (generator.integers(least, side // 2 + 1) for side in (height, width))
        top, left = generator.integers(0, height - rows + 1), generator.integers(0, width - cols + 1)
        found.append(Box(int(top), int(left), int(top + rows), int(left + cols)))
    return found


def test_free_places_are_those_where_no_pixel_is_taken() -> None:
    generator = np.random.default_rng(0)
    for _ in range(30):
        *taken, own = _boxes(generator, 11, 14, 3)
        pixels = np.zeros((11, 14), bool)
        for box in taken:
            pixels[box.slices()] = True
        free = free_places(11, 14, (own.height, own.width), taken)
        assert free.shape == (12 - own.height, 15 - own.width)
        for (row, col), is_free in np.ndenumerate(free):
            assert is_free == (not pixels[row : row + own.height, col : col + own.width].any())


def test_random_boxes_are_uniform_over_free_places_and_anywhere_if_there_is_none() -> None:
    generator = np.random.default_rng(1)
    drawn = random_boxes((3, 4), (1, 2), [Box(0, 0, 2, 2)], 5000, generator)
    places, counts = np.unique([(b.top, b.left) for b in drawn], axis=0, return_counts=True)
    assert places.tolist() == [[0, 2], [1, 2], [2, 0], [2, 1], [2, 2]]
    assert counts.min() > 850
    assert {(b.height, b.width) for b in drawn} == {(1, 2)}
    whole = random_boxes((3, 4), (2, 2), [Box(0, 0, 3, 4)], 200, generator)
    assert len({(b.top, b.left) for b in whole}) == 6


def test_shifted_boxes_are_every_shift_that_stays_inside_and_clear_once() -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        first, second, obstacle = _boxes(generator, 12, 12, 3)
        taken = [[first], [second, obstacle]]
        wanted = set()
        for down in range(-12, 13):
            for along in range(-12, 13):
                moved = [
                    Box(b.top + down, b.left + along, b.bottom + down, b.right + along)
                    for b in (first, second)
                ]
                clear = all(
                    Box(0, 0, 12, 12).contains(box) and not any(box.intersection(o).area for o in others)
                    for box, others in zip(moved, taken, strict=True)
                )
                if clear:
                    wanted.add(tuple(moved))
        found = shifted_boxes((12, 12), [first, second], taken, 1000, generator)
        assert len(found) == len(wanted)
        assert {tuple(boxes) for boxes in found} == wanted
        assert len(shifted_boxes((12, 12), [first, second], taken, 2, generator)) == min(2, len(wanted))


def test_controls_are_clear_of_all_parts_of_their_image() -> None:
    net, marked = _planted(4)
    marked = [replace(m, boxes=dict(m.boxes) | {"edge": Box(0, 0, 2, SIZE)}) for m in marked]
    scene = Scene(net, marked, "mean", 0)
    masks = scene.masks(0, 30)
    assert masks[0].boxes == tuple(m.boxes["patch"] for m in marked)
    assert {mask.control for mask in masks[1:]} == set(CONTROL_MASKS)
    for mask in masks[1:]:
        for image, box in zip(mask.images, mask.boxes, strict=True):
            assert not any(box.intersection(other).area for other in marked[image].boxes.values())
            assert (box.height, box.width) == (PATCH, PATCH)


# --- boxes through the preprocessing ----------------------------------------------------------------------------


def _seen_pixels(preprocessing: backlight.Preprocessing, size: tuple[int, int], box: Box, least: int) -> Box:
    """Return the bounding box of what a marked region has become."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[box.slices()] = 255
    rows, cols = np.nonzero(np.asarray(preprocessing.picture(Image.fromarray(picture)))[..., 0] >= least)
    if not len(rows):
        return Box(0, 0, 0, 0)
    return Box(int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)


@pytest.mark.parametrize(
    ("resize", "crop", "size"),
    [
        (None, (20, 21), (35, 44)),
        (None, (20, 21), (33, 42)),
        (None, (21, 20), (28, 22)),
        (None, (31, 40), (24, 33)),
        (None, (20, 40), (35, 33)),
        (16, (16, 16), (32, 64)),
        (16, (13, 14), (48, 32)),
        ((10, 20), (9, 15), (40, 40)),
        ((10, 20), (14, 25), (40, 40)),
    ],
)
def test_a_box_covers_exactly_what_a_marked_region_becomes(
    resize: int | tuple[int, int] | None, crop: tuple[int, int], size: tuple[int, int]
) -> None:
    preprocessing = backlight.Preprocessing(resize, crop, GREY, GREY, "box")
    for box in _boxes(np.random.default_rng(0), *size, 40):
        seen, wanted = seen_box(preprocessing, size, box), _seen_pixels(preprocessing, size, box, 1)
        assert seen == wanted or seen.area == wanted.area == 0


def test_the_whole_picture_is_where_padding_is_not() -> None:
    for height in range(20, 34):
        for width in range(20, 34):
            preprocessing = backlight.Preprocessing(16, (30, 31), GREY, GREY)
            whole = Box(0, 0, height, width)
            wanted = _seen_pixels(preprocessing, (height, width), whole, 1)
            assert seen_box(preprocessing, (height, width), whole) == wanted


@pytest.mark.parametrize(
    ("resize", "size"), [(40, (57, 93)), (40, (71, 43)), ((33, 61), (50, 47)), (64, (37, 50))]
)
def test_under_any_scale_what_is_mostly_marked_is_covered_and_little_more(
    resize: int | tuple[int, int], size: tuple[int, int]
) -> None:
    preprocessing = backlight.Preprocessing(resize, (32, 36), GREY, GREY, "bilinear")
    for box in _boxes(np.random.default_rng(1), *size, 40, 9):
        seen, wanted = seen_box(preprocessing, size, box), _seen_pixels(preprocessing, size, box, 129)
        if min(seen.height, seen.width) > 3:
            assert seen.contains(wanted)
            assert wanted.height >= seen.height - 2
            assert wanted.width >= seen.width - 2


def test_boxes_are_those_of_the_upright_picture(tmp_path: Path) -> None:
    net, marked = _planted(5)
    picture = Image.new("RGB", (SIZE + 8, SIZE))
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    turned = MarkedImage("turned", tmp_path / "turned.png", {"patch": Box(34, 3, 38, 9)})
    scene = Scene(net, [turned, marked[0]], "mean", 0)
    assert scene.boxes[0]["patch"] == Box(30, 3, 32, 9)


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (SIZE + 8, SIZE), "red").save(tmp_path / name)
    return tmp_path


def _write(folder: Path, images: object, **more: object) -> Path:
    file = folder / "parts.json"
    file.write_text(json.dumps({"images": images, **more}))
    return file


GOOD = [3, 5, 9, 14]


def test_a_json_file_is_read(folder: Path) -> None:
    found = read_parts(
        _write(folder, {"a.png": {"eye": GOOD}, "b.png": {"eye": GOOD, "nose": GOOD}}, note="n")
    )
    assert [m.name for m in found] == ["a.png", "b.png"]
    assert found[0].image == folder / "a.png"
    assert found[1].boxes == {"eye": Box(3, 5, 9, 14), "nose": Box(3, 5, 9, 14)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"parts.json' is not JSON \(Expecting property name.*the form is"),
        ("[]", 'parts.json\' has no "images" with the parts of each; the form is'),
        ('{"images": []}', 'has no "images" with the parts of each'),
        ('{"images": {}, "boxes": 1}', "has the unknown entry 'boxes' beside \"images\"; remove it"),
        ('{"images": {"a.png": [1, 2, 3, 4]}}', "a.png has no parts by name"),
        (
            '{"images": {"a.png": {"eye": [1, 2, 3]}}}',
            r"the box of 'eye' in a.png must be four whole .*\[1, 2, 3\]",
        ),
        ('{"images": {"a.png": {"eye": [1, 2, 3, 4.5]}}}', "must be four whole numbers"),
        ('{"images": {"a.png": {"eye": [1, 2, true, 4]}}}', "must be four whole numbers"),
        ('{"images": {"a.png": {"eye": {"top": 1}}}}', 'must be four whole numbers .* got {"top": 1}'),
        ('{"images": {"a.png": {}, "a.png": {}}}', r"is not JSON \('a.png' appears twice\)"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "parts.json").write_text(text)
    with pytest.raises(BadInputError, match=message) as caught:
        read_parts(tmp_path / "parts.json")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"cannot read the boxes of '.*none.json' \(No such file or directory\)"
    ):
        read_parts(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "needs at least two, got 0"),
        ({"a.png": {"eye": GOOD}}, "compares images and needs at least two, got 1"),
        ({"a.png": {}, "b.png": {}}, "no part is marked in any of the images"),
        ({"a.png": {"eye": GOOD, "nose": GOOD}, "b.png": {"eye": GOOD}}, "but 'nose' is marked in one"),
        (
            {"a.png": {"eye": GOOD}, "b.png": {"eye": [3, 5, 33, 9]}},
            r"the box of 'eye' in b.png, \[3, 5, 33, 9\], reaches outside the picture of 32x40 pixels",
        ),
        ({"a.png": {"eye": GOOD}, "b.png": {"eye": [-1, 5, 3, 9]}}, "reaches outside the picture"),
        (
            {"a.png": {"eye": GOOD}, "b.png": {"eye": [3, 5, 3, 9]}},
            r"'eye' in b.png, \[3, 5, 3, 9\], is empty",
        ),
        ({"a.png": {"eye": GOOD}, "b.png": {"eye": [9, 5, 3, 9]}}, "is empty; a box is"),
        (
            {"a.png": {"eye": GOOD}, "b.png": {"eye": [3, 0, 9, 4]}},
            r"the box of 'eye' in b.png, \[3, 0, 9, 4\], lies outside the centre crop that the network sees",
        ),
    ],
)
def test_boxes_that_cannot_be_used_are_refused(folder: Path, images: object, message: str) -> None:
    net = backlight.capture(SmallNet(), (3, SIZE, SIZE), AS_IS)
    with pytest.raises(BadInputError, match=message) as caught:
        run(net, _write(folder, images))
    assert "\n" not in str(caught.value)


def test_a_missing_image_an_unknown_layer_and_a_network_of_tensors_are_refused(folder: Path) -> None:
    both = {"a.png": {"eye": GOOD}, "b.png": {"eye": GOOD}}
    net = backlight.capture(SmallNet(), (3, SIZE, SIZE), AS_IS)
    with pytest.raises(UnknownLayerError, match="has no layer 'relu7'"):
        run(net, _write(folder, both), ["relu7"])
    with pytest.raises(
        BadInputError, match="was captured without preprocessing, so boxes of pictures cannot"
    ):
        run(backlight.capture(SmallNet(), (3, SIZE, SIZE)), _write(folder, both))
    with pytest.raises(ImageError, match=r"c\.png': no such file"):
        run(net, _write(folder, {**both, "c.png": {"eye": GOOD}}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: CorrespondenceConfig(n_random=0),
            "n_random must be at least 1, got 0",
        ),
        (lambda: CorrespondenceConfig(seed=-1), "seed must be at least 0, got -1"),
    ],
)
def test_a_config_is_checked(make: Callable[[], CorrespondenceConfig], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make()


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Return a function that runs the command in a folder with a model file and marked pictures."""
    tests = str(Path(__file__).parents[1])
    (folder / "mine.py").write_text(
        f"import sys\nsys.path.insert(0, {tests!r})\nfrom conftest import SmallNet as make\n"
    )
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(generator.integers(0, 256, (40, 48, 3), np.uint8)).save(folder / name)
    monkeypatch.chdir(folder)
    app = typer.Typer()
    app.command()(correspond)

    def call(*arguments: str) -> object:
        return CliRunner().invoke(
            app, ["mine.py:make", "parts.json", "--size", "32", *arguments], catch_exceptions=True
        )

    return call


def test_the_command_prints_a_table_and_writes_figure_and_numbers(
    command: Callable[..., object], folder: Path
) -> None:
    _write(folder, {"a.png": {"left eye": [8, 8, 20, 20]}, "b.png": {"left eye": [9, 10, 20, 22]}})
    result = command("-o", "c.png", "--save", "numbers", "--random", "3", "--layers", "relu2,mean")
    assert result.exit_code == 0, result.output
    words = result.output.split()
    assert [word for word in words if word in ("relu2", "mean")] == ["relu2", "mean"]
    assert "c.png" in words
    assert Image.open(folder / "c.png").width > 500
    saved = Correspondence.load(folder / "numbers")
    value = saved.delta("mean", "left eye")
    assert f"{value[0]:.3f}±{value[1]:.3f}" in words
    assert command("--random", "1", "--layers", "all").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "c.gif"), "a figure is written as .png, .webp, .pdf, .svg or .jpg"),
        (("--random", "0"), "n_random must be at least 1"),
        (("--fill", "black"), "a fill is mean, blur, noise"),
        ((), "the box of 'eye' in b.png must be four whole numbers"),
    ],
)
def test_the_command_refuses_what_cannot_be_used(
    command: Callable[..., object], folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    _write(folder, {"a.png": {"eye": GOOD}, "b.png": {"eye": "all"}})
    with pytest.raises(BadInputError, match=message):
        raise command(*arguments).exception


def test_the_parts_of_the_demo_photographs_lie_in_what_networks_see() -> None:
    demo = pytest.importorskip("backlight_demo")
    net = backlight.capture(SmallNet(), (3, 224, 224), backlight.Preprocessing.default(3, 224))
    scene = Scene(net, read_parts(demo.parts()), "mean", 0)
    assert scene.parts == ["left eye", "right eye", "nose"]
    assert len(scene.boxes) == 5
    for boxes in scene.boxes:
        left, right, nose = (boxes[part] for part in scene.parts)
        assert left.right < right.left
        assert nose.top > max(left.top, right.top)
