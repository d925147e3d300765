"""Evolution: what is changed by hand shows where it was changed and nowhere else; the model is only read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from torch import Tensor, nn

import backlight
from backlight.errors import ActivationError, BacklightWarning, BadInputError, UnknownLayerError, WeightsError
from backlight.studies import evolution
from backlight.studies.evolution import Evolution, EvolutionConfig, EvolutionResult, open_evolution
from backlight.studies.evolution import images as fixed_images
from backlight.studies.evolution.changes import relative_changes, settled_at, turns, unlikeness
from backlight.studies.evolution.labels import find_checkpoints, labels_of, natural_key, told_apart_steps
from conftest import SmallNet, make_pictures

SIZE = 24
PLAIN = backlight.Preprocessing(None, (SIZE, SIZE), (0.5,) * 3, (0.25,) * 3)


class Deep(nn.Module):
    """Three layers, the second with a batch norm and dropout before it, so that training changes more than weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
        self.drop, self.pool = nn.Dropout(0.3), nn.MaxPool2d(2)
        self.conv2, self.norm2, self.relu2 = nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.conv3, self.relu3 = nn.Conv2d(8, 5, 3), nn.ReLU()
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.drop(self.relu1(self.conv1(x))))
        x = self.relu3(self.conv3(self.relu2(self.norm2(self.conv2(x)))))
        return self.fc(x.mean((2, 3)))


LAYERS = ("relu1", "relu2", "relu3")


def make_deep() -> Deep:
    torch.manual_seed(0)
    return Deep()


def some_inputs(count: int = 12) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def change(model: nn.Module, name: str, channel: int) -> None:
    """Turn one filter of a convolution around, and by that the maps above it."""
    with torch.no_grad():
        weight = model.get_submodule(name).weight
        weight[channel] = weight[channel].flip(1, 2) * 2


def of_layer(result: EvolutionResult, name: str, layer: str) -> np.ndarray:
    return getattr(result, name)[:, result.columns(layer)]


def same_results(one: EvolutionResult, other: EvolutionResult) -> None:
    """Raise unless two evolutions are the same, bit for bit."""
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)
        else:
            assert value == getattr(other, name), name


@pytest.fixture(scope="module")
def changed() -> EvolutionResult:
    """Return the evolution of a network of which one filter is changed at each of three steps, in one layer each."""
    torch.set_num_threads(1)
    model = make_deep()
    followed = Evolution(some_inputs(), maps=5)
    for step, (name, channel) in enumerate([("conv1", 0), ("conv3", 2), ("conv2", 3), ("conv1", 1)]):
        if step:
            change(model, name, channel)
        followed.observe(model, f"epoch{step}")
    return followed.result


# --- a change by hand -----------------------------------------------------------------------------------------


def test_a_changed_filter_shows_in_its_map_and_nowhere_else(changed: EvolutionResult) -> None:
    below, own = changed.changes("relu1"), of_layer(changed, "unlike", "relu3")
    assert changed.layer("relu3").channels == (0, 1, 2, 3, 4)
    # from step 0 to 1: map 2 of the last layer alone
    assert own[1, 2] > 0.1
    assert own[1, [0, 1, 3, 4]].tolist() == [0, 0, 0, 0]
    assert below.projections[0] == below.filters[0] == below.directions[0] == below.images[0] == 0
    assert (of_layer(changed, "unlike", "relu2")[1] == 0).all()
    for name in ("image_ids", "values", "places", "scales"):
        kept = np.delete(getattr(changed, name), changed.column("relu3", 2), axis=1)
        np.testing.assert_array_equal(kept[0], kept[1])
    last = changed.changes("relu3")
    assert last.images[0] <= 1 / 5
    np.testing.assert_array_equal(
        changed.filter("epoch0", "relu3", 2), changed.filter("epoch1", "relu3", 2)[:, ::-1, ::-1] / 2
    )


def test_a_change_shows_in_the_layers_above_and_not_below(changed: EvolutionResult) -> None:
    for layer, (before, after) in {"relu2": (1, 2), "relu1": (2, 3)}.items():
        channel = {"relu2": 3, "relu1": 1}[layer]
        own = of_layer(changed, "unlike", layer)[after]
        moved = [c for c, value in zip(changed.layer(layer).channels, own, strict=True) if value > 0]
        assert moved == ([channel] if channel in changed.layer(layer).channels else [])
        for other in LAYERS:
            is_above = LAYERS.index(other) > LAYERS.index(layer)
            assert (of_layer(changed, "unlike", other)[after] > 0).any() == (
                is_above or bool(moved and other == layer)
            )
            # filters are the weights themselves: those above stay
            assert (changed.changes(other).filters[before] > 0) == bool(moved and other == layer)


def test_when_layers_are_settled_is_when_they_were_last_changed(changed: EvolutionResult) -> None:
    assert changed.settled("relu3", "filters") == "epoch1"
    assert changed.settled("relu2", "filters") == "epoch2"
    assert changed.settled("relu1", "filters") == "epoch3"
    assert changed.settled("relu1", "filters", share=1.0) == "epoch0"
    found = changed.summary()
    assert found["layers"]["relu3"]["settled"]["filters"] == "epoch1"
    assert found["steps"] == ["epoch0", "epoch1", "epoch2", "epoch3"]
    with pytest.raises(BadInputError, match="what settles is one of projections, filters, images, got 'x'"):
        changed.settled("relu1", "x")


def test_each_map_shows_its_strongest_unit_over_the_images(changed: EvolutionResult) -> None:
    model, inputs = make_deep().eval(), some_inputs()
    net = backlight.capture(model, (3, SIZE, SIZE))
    for layer in changed.layers:
        with torch.no_grad():
            maps = net.features(layer.name)(inputs)[0]
        for channel in layer.channels:
            column = changed.column(layer.name, channel)
            image, row, col = np.unravel_index(int(maps[:, channel].argmax()), maps[:, channel].shape)
            assert changed.image_ids[0, column] == image
            assert changed.places[0, column].tolist() == [row, col]
            assert changed.values[0, column] == pytest.approx(float(maps[image, channel, row, col]), rel=1e-5)
            unit = backlight.Unit(layer.name, channel, int(row), int(col))
            whole = backlight.project(net, inputs[image], unit)[0].permute(1, 2, 0).numpy()
            box = net.layer(layer.name).receptive_field.box(int(row), int(col))
            padded = np.pad(whole, ((SIZE, SIZE), (SIZE, SIZE), (0, 0)))
            expected = padded[box.shifted(SIZE, SIZE).slices()]
            found = changed.projection("epoch0", layer.name, channel)
            assert found.shape == expected.shape == layer.tile
            # a code of 8 bits, on a scale of square roots
            np.testing.assert_allclose(found, expected, atol=np.abs(expected).max() / 100)


# --- changes --------------------------------------------------------------------------------------------------


def test_projections_that_are_equal_empty_or_even() -> None:
    one = np.random.default_rng(0).normal(size=(4, 5, 3))
    assert unlikeness(one, one) == unlikeness(np.zeros(3), np.zeros(3)) == 0
    assert unlikeness(one, 3 * one + 1) == pytest.approx(0, abs=1e-12)
    assert unlikeness(one, -one) == pytest.approx(2)
    assert unlikeness(one, np.zeros_like(one)) == unlikeness(np.ones_like(one), one) == 1
    other = np.random.default_rng(1).normal(size=(4, 5, 3))
    assert unlikeness(one, other) == pytest.approx(1 - np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_filters_that_are_equal_zero_or_turned() -> None:
    rows = np.array([[3, 4], [3, 4], [6, 8], [-3, -4], [0, 0], [0, 0], [3, 4]], np.float32)
    assert relative_changes(rows).tolist() == [0, 0.5, 1.5, 1, 0, 1]
    assert turns(rows).tolist() == pytest.approx([0, 0, 2, 1, 0, 1], abs=1e-12)
    assert turns(rows)[[0, 4]].tolist() == [0, 0]
    assert relative_changes(rows[:1]).shape == turns(rows[:1]).shape == (0,)


def test_settled_is_where_little_is_still_to_come() -> None:
    assert settled_at(np.full(10, 1.0), 0.1) == 9
    assert settled_at(np.array([0.9, 0.1]), 0.1) == 1
    assert settled_at(np.array([0.8, 0.1, 0.1]), 0.1) == 2
    assert settled_at(np.array([np.nan, 1.0, 0.0]), 0.1) == 2
    assert settled_at(np.array([np.nan, np.nan]), 0.1) is None
    assert settled_at(np.zeros(0), 0.1) is None


# --- steps in a file ------------------------------------------------------------------------------------------


def test_an_evolution_goes_on_in_its_file_and_does_nothing_twice(tmp_path: Path) -> None:
    path, model = tmp_path / "e.npz", make_deep()
    first = Evolution(some_inputs(), "relu3", 3, path)
    first.observe(model, 1)
    size = path.stat().st_size
    change(model, "conv3", 1)
    again = Evolution(some_inputs(), "relu3", 3, path)
    same_results(again.result, first.result)
    again.observe(model, 10)
    before = again.result
    again.observe(model, 10)
    assert again.result is before  # the same step with the same weights: nothing was done
    change(model, "conv3", 2)
    again.observe(model, 2)
    assert again.result.steps == ("1", "2", "10")
    same_results(open_evolution(path), again.result)
    assert size < 10_000
    assert [own.name for own in tmp_path.iterdir()] == ["e.npz"]


def test_steps_in_any_order_give_the_same_evolution() -> None:
    models = []
    for channel in range(3):
        models.append(copy.deepcopy(models[-1]) if models else make_deep())
        change(models[-1], "conv3", channel)
    found = []
    for order in ((0, 1, 2), (2, 0, 1)):
        followed = Evolution(some_inputs(), ["relu3"], 3)
        for i in order:
            followed.observe(models[i], f"epoch{i}")
        found.append(followed.result)
    same_results(*found)
    # a step of the same name with other weights takes the place of the first
    followed.observe(models[0], "epoch1")
    assert followed.result.steps == found[0].steps
    assert (followed.result.unlike[1] == 0).all()
    assert followed.result.weights[1] == followed.result.weights[0]


OTHERS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: Evolution(some_inputs(11), ["relu3"], 3, path), "is of other images; keep this one"),
    (lambda path: Evolution(some_inputs(), ["relu3"], 2, path), "is of other maps, seed or rules"),
    (
        lambda path: Evolution(some_inputs(), ["relu3"], 3, path, config=EvolutionConfig(seed=1)),
        "is of other maps, seed or rules",
    ),
    (lambda path: Evolution(some_inputs(), ["relu2"], 3, path).observe(make_deep(), 1), "is of other layers"),
    (
        lambda path: Evolution(some_inputs(), None, 3, path).observe(SmallNet(), 1),
        "is of other network and layers",
    ),
]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    Evolution(some_inputs(), ["relu3"], 3, path).observe(make_deep(), 0)
    before = path.read_bytes()
    for other, text in OTHERS:
        with pytest.raises(BadInputError, match=text) as caught:
            other(path)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, changed: EvolutionResult) -> None:
    path = tmp_path / "e.npz"
    whole = changed.to_bytes()
    generator = np.random.default_rng(0)
    n_refused = 0
    for place in [*generator.integers(0, len(whole), 60).tolist(), None]:
        damaged = bytearray(whole[: len(whole) // 2] if place is None else whole)
        if place is not None:
            damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            same_results(open_evolution(path), changed)  # a bit that means nothing, such as in a date
        except BadInputError as error:
            assert "e.npz' is no evolution, or it is damaged (" in str(error)
            assert "\n" not in str(error)
            n_refused += 1
    assert n_refused > 50
    path.write_bytes(b"not one")
    with pytest.raises(BadInputError, match="is no evolution, or it is damaged"):
        Evolution(some_inputs(), path=path)
    with pytest.raises(BadInputError, match=r"cannot read the evolution '.*gone.npz' \(No such file"):
        open_evolution(tmp_path / "gone.npz")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"steps": ("a",)}, "image_ids, tile_ends, values"),
    ({"weights": ("a",)}, "layers"),
    ({"tiles": np.zeros(3, np.uint8)}, "tile_ends"),
    ({"tile_ends": np.zeros((4, 15), np.int64)}, "tile_ends"),
    ({"filters": np.zeros((4, 1), np.float32)}, "filters"),
    ({"layers": ()}, "image_ids"),
]


@pytest.mark.parametrize(("parts", "text"), WRONG, ids=[next(iter(parts)) for parts, _ in WRONG])
def test_parts_that_do_not_fit_each_other_are_refused(
    changed: EvolutionResult, parts: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadInputError, match=f"parts of an evolution do not fit each other .*{text}"):
        replace(changed, **parts)


def test_a_tile_of_another_size_is_refused(changed: EvolutionResult) -> None:
    other = replace(changed.layers[0], tile=(200, 200, 3))
    with pytest.raises(BadInputError, match="the projection of step 'epoch0' is damaged"):
        replace(changed, layers=(other, *changed.layers[1:])).projection("epoch0", "relu1", other.channels[0])


def test_what_was_not_followed_is_not_there(changed: EvolutionResult) -> None:
    with pytest.raises(
        UnknownLayerError, match="'relu9' was not followed; the layers are relu1, relu2, relu3"
    ):
        changed.columns("relu9")
    with pytest.raises(BadInputError, match="map 99 of layer 'relu1' was not followed; those that were are "):
        changed.column("relu1", 99)
    with pytest.raises(BadInputError, match="there is no step '7'; the steps are epoch0, epoch1"):
        changed.projection(7, "relu1", 0)
    with pytest.raises(BadInputError, match="nothing was observed yet"):
        _ = Evolution(some_inputs()).result


# --- the model is only read -----------------------------------------------------------------------------------


def half_precision() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad, half_precision])
def test_a_model_in_training_is_left_exactly_as_it_is(mode: Callable[[], Any]) -> None:
    model = make_deep().train()
    model.norm2.eval()  # a part that its owner froze
    model(some_inputs()).sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradients = {name: own.grad.clone() for name, own in model.named_parameters()}
    modes = {name: own.training for name, own in model.named_modules()}
    state = torch.get_rng_state()
    with mode():
        followed = Evolution(some_inputs(), maps=8)
        pictures = followed.observe(model, 0)
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: own.training for name, own in model.named_modules()} == modes
    assert all(torch.equal(own, before[name]) for name, own in model.state_dict().items())
    assert all(torch.equal(own.grad, gradients[name]) for name, own in model.named_parameters())
    assert {picture.mode for picture in pictures.values()} == {"RGB"}
    # what is seen is the inference of the model, in its own precision
    copied = copy.deepcopy(model).eval()
    with torch.no_grad():
        below = copied.pool(copied.relu1(copied.conv1(some_inputs())))
        expected = copied.relu2(copied.norm2(copied.conv2(below))).amax((0, 2, 3))
    np.testing.assert_allclose(of_layer(followed.result, "values", "relu2")[0], expected.numpy(), rtol=1e-4)


def trained(look: Callable[[nn.Module, int], object]) -> dict[str, Tensor]:
    """Return the weights of a network after a short training in which each epoch is looked at."""
    model = make_deep()
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    inputs, labels = some_inputs(24), torch.arange(24) % 3
    for epoch in range(3):
        model.train()
        for batch in torch.randperm(24).split(8):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimiser.step()
        look(model, epoch)
    return model.state_dict()


def test_a_training_ends_with_the_same_weights_whether_it_is_watched_or_not() -> None:
    followed = Evolution(some_inputs(), maps=3)
    alone, watched = trained(lambda *_: None), trained(followed.observe)
    assert followed.result.steps == ("0", "1", "2")
    assert alone.keys() == watched.keys()
    assert all(torch.equal(own, watched[name]) for name, own in alone.items())
    assert (followed.result.changes("relu1").filters > 0).all()


# --- following ------------------------------------------------------------------------------------------------


def test_a_model_is_captured_once_and_its_weights_and_statistics_are_followed() -> None:
    followed, model = Evolution(some_inputs(), ["relu2"], 3), make_deep()
    followed.observe(model, 0)
    other = copy.deepcopy(model)  # another object of the same architecture, as one loaded from a checkpoint
    with torch.no_grad():
        other.norm2.running_mean += 0.5
    followed.observe(other, 1)
    followed.observe(torch.compile(other), "1 again")
    assert followed.follower.n_captures == 1
    afresh = Evolution(some_inputs(), ["relu2"], 3)
    afresh.observe(other, 1)
    np.testing.assert_array_equal(followed.result.values[1], afresh.result.values[0])
    assert (followed.result.values[1] < followed.result.values[0]).all()
    np.testing.assert_array_equal(followed.result.values[2], followed.result.values[1])
    assert (followed.result.changes("relu2").filters == 0).all()


class FadedIn(nn.Module):
    """A network with a second branch that a number, which is no weight, fades in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.other = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(3, 4, 3)
        self.share = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.relu((1 - self.share) * self.conv(x) + self.share * self.other(x))


def test_a_model_that_changes_in_more_than_its_weights_is_captured_again() -> None:
    model = FadedIn()
    followed = Evolution(some_inputs(), maps=4)
    followed.observe(model, 0)
    model.share = 0.75
    followed.observe(model, 1)
    assert followed.follower.n_captures == 2
    model.eval()
    with torch.no_grad():
        expected = model(some_inputs()).amax((0, 2, 3))
    np.testing.assert_allclose(followed.result.values[1], expected.numpy(), rtol=1e-5)
    with pytest.raises(WeightsError, match="other layers or filters than at the steps before"):
        followed.observe(SmallNet(), 2)


def test_a_map_that_no_image_activates_has_no_strongest_one() -> None:
    model = make_deep()
    with torch.no_grad():
        model.conv3.bias[1] = -100
    followed = Evolution(some_inputs(), ["relu3"], 5)
    pictures = followed.observe(model, 0)
    found = followed.result
    assert found.image_ids[0].tolist().count(-1) == 1
    assert (found.image_ids[0, 1], found.values[0, 1], found.places[0, 1].tolist()) == (-1, 0, [-1, -1])
    assert not found.projection(0, "relu3", 1).any()
    assert (np.asarray(pictures["relu3/1"]) == 128).all()
    followed.observe(model, 1)
    assert followed.result.unlike[1].tolist() == [0] * 5
    assert not followed.result.jumps("relu3").any()
    with torch.no_grad():
        model.conv3.bias[1] = 0
    followed.observe(model, 2)
    assert followed.result.unlike[2, 1] == 1
    assert followed.result.jumps("relu3")[2].tolist() == [False, True, False, False, False]


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    model = make_deep()
    with torch.no_grad():
        model.conv2.weight[0] = torch.nan
    followed = Evolution(some_inputs(), path=tmp_path / "e.npz")
    with pytest.raises(ActivationError, match="layer 'relu2' has an activation that is not finite"):
        followed.observe(model, 0)
    assert not (tmp_path / "e.npz").exists()


# --- images ---------------------------------------------------------------------------------------------------


def test_images_that_are_too_many_to_keep_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = make_pictures(tmp_path / "pictures", 9), make_deep()
    (folder / "a" / "000.png").write_bytes(b"no picture")
    kept = Evolution(folder, ["relu3"], 3, preprocessing=PLAIN)
    kept.observe(model, 0)
    monkeypatch.setattr(fixed_images, "MOST_BYTES", 0)
    read = Evolution(folder, ["relu3"], 3, preprocessing=PLAIN, config=EvolutionConfig(batch_size=2))
    read.observe(model, 0)
    same_results(kept.result, read.result)
    assert kept.result.n_images == 8
    assert (
        [own.path for own in kept.images.skipped]
        == [own.path for own in read.images.skipped]
        == ["a/000.png"]
    )
    paths = {int(i): path for i, path in kept.result.paths.items()}
    assert set(paths) == set(kept.result.image_ids.ravel().tolist())
    records = backlight.open_images(folder).records
    assert all(records[i].path == path for i, path in paths.items())


def test_images_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="pictures need a preprocessing; pass preprocessing="):
        Evolution(make_pictures(tmp_path / "pictures", 2))
    with pytest.raises(BadInputError, match=r"inputs are \(n, c, h, w\), at least one, got \(3, 24, 24\)"):
        Evolution(some_inputs()[0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(BadInputError, match=r"none of the images of .* can be read"):
        Evolution([tmp_path / "bad.png"], preprocessing=PLAIN).observe(make_deep(), 0)


# --- checkpoints ----------------------------------------------------------------------------------------------


def test_labels_tell_checkpoints_apart_and_have_a_natural_order() -> None:
    assert labels_of([Path("r/epoch2.pt"), Path("r/last.ckpt")]) == ["epoch2", "last"]
    assert labels_of([Path("a/x/model.pt"), Path("a/y/model.pt")]) == ["x", "y"]
    assert labels_of([Path("a/1/m.pt"), Path("a/1/n.pt"), Path("a/2/m.pt")]) == ["1/m", "1/n", "2/m"]
    assert labels_of([Path("a/m.pt"), Path("a/m.pth")]) == ["a/m.pt", "a/m.pth"]
    labels = ["last", "epoch10", "epoch9", "epoch=2-step=30", "epoch=2-step=4", "10", "9", "009"]
    assert sorted(labels, key=natural_key) == [
        *("009", "9", "10", "epoch9", "epoch10", "epoch=2-step=4", "epoch=2-step=30", "last")
    ]
    assert told_apart_steps(["epoch1", "last"]) == ["epoch1", "last"]


def test_checkpoints_are_found_by_a_pattern_or_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a1.pt", "a[2].pt"):
        Path(name).touch()
    Path("a_folder.pt").mkdir()
    assert sorted(map(str, find_checkpoints("a*.pt"))) == ["a1.pt", "a[2].pt"]
    assert find_checkpoints("a[2].pt") == [Path("a[2].pt")]
    with pytest.raises(BadInputError, match="no checkpoint is found by 'b"):
        find_checkpoints("b*.pt")
    with pytest.raises(BadInputError, match=r"'a_folder\.pt' is a folder; give a pattern of the files in it"):
        find_checkpoints("a_folder.pt")


class Pickled:
    """What torch.save writes with the code to make it again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_checkpoints_that_cannot_be_used_are_left_out_with_their_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = make_deep()
    for epoch in (2, 10):
        change(model, "conv3", 1)
        torch.save({"epoch": epoch, "model": model.state_dict()}, f"epoch{epoch}.pt")
    Path("epoch3.pt").write_bytes(Path("epoch2.pt").read_bytes()[:3000])
    torch.save(SmallNet().state_dict(), "epoch4.pt")
    torch.save({"model": Pickled()}, "epoch5.pt")
    nan = torch.full_like(model.conv1.weight, torch.nan)
    torch.save(model.state_dict() | {"conv1.weight": nan}, "epoch6.pt")
    given, before = sorted(Path().glob("*.pt")), copy.deepcopy(model.state_dict())
    steps = []
    with pytest.warns(BacklightWarning, match="the weights under 'model' are used"):
        found = evolution.run(
            model, given, some_inputs(), ["relu3"], path="e.npz", progress=lambda *own: steps.append(own)
        )
    assert found.steps == ("epoch2", "epoch10")
    reasons = {own.step: own.reason for own in found.skipped}
    assert list(reasons) == ["epoch3", "epoch4", "epoch5", "epoch6"]
    for step, text in {
        "epoch3": "'epoch3.pt' is truncated or damaged",
        "epoch4": "'epoch4.pt' does not fit Deep",
        "epoch5": "'epoch5.pt' contains no state dict",
        "epoch6": "not finite",
    }.items():
        assert text in reasons[step]
        assert "\n" not in reasons[step]
    assert not Path("ran").exists()
    assert [own for own in steps if own[0] == "evolution"][-1] == ("evolution", 6, 6)
    assert all(torch.equal(own, before[name]) for name, own in model.state_dict().items())
    same_results(open_evolution("e.npz"), found)
    with pytest.raises(
        BadInputError, match=r"cannot use any of the 2 checkpoints, the first: 'epoch3\.pt' is trunc"
    ):
        evolution.run(model, ["epoch3.pt", "epoch4.pt"], some_inputs(), ["relu3"])
    with pytest.raises(BadInputError, match=r"cannot use the checkpoint: 'epoch4\.pt' does not fit Deep"):
        evolution.run(model, ["epoch4.pt"], some_inputs(), ["relu3"])
    with pytest.raises(BadInputError, match="there is no checkpoint to look at"):
        evolution.run(model, [], some_inputs())


# --- figures --------------------------------------------------------------------------------------------------


def test_the_grid_has_a_row_for_each_map_and_bars_where_images_change(changed: EvolutionResult) -> None:
    orange = (213, 94, 0)
    figure = changed.plot(layers=["relu2", "relu3"])
    for axes, layer in zip(figure.axes, ("relu2", "relu3"), strict=True):
        assert axes.get_title(loc="left") == f"layer {layer}"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "3"]
        channels = [label.get_text() for label in axes.get_yticklabels()]
        assert channels == list(map(str, changed.layer(layer).channels))
        sheet, jumps = np.asarray(axes.images[0].get_array()), changed.jumps(layer)
        assert jumps.any()
        pitch = (sheet.shape[1] + 10) // 4
        for i, j in np.ndindex(len(channels), 4):
            gap = sheet[i * pitch + 36, max(j * pitch - 10, 0) : j * pitch]
            assert bool((gap == orange).all(1).any()) == bool(jumps[j, i])
    assert figure._repr_png_()[1:4] == b"PNG"
    with pytest.raises(BadInputError, match="is a grid or curves, got 'x'"):
        changed.plot("x")


def test_a_grid_shows_some_of_many_maps_layers_and_steps(changed: EvolutionResult) -> None:
    followed = Evolution(some_inputs(2), config=EvolutionConfig(maps=None))
    followed.observe(nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU()), 0)
    (axes,) = followed.result.plot().axes
    rows = [int(label.get_text()) for label in axes.get_yticklabels()]
    assert (len(rows), rows[0], rows[-1]) == (16, 0, 19)
    assert "At most 16 of a layer's maps are shown." in followed.result.plot().get_supxlabel().replace(
        "\n", " "
    )
    figure = changed.plot(layers="relu1", steps=["epoch1", "epoch3"])
    note = figure.get_supxlabel().replace("\n", " ")
    assert note.endswith("1 of 3 layers are shown. 2 of 4 steps are shown.")


def test_curves_are_the_changes(changed: EvolutionResult) -> None:
    figure = changed.plot("curves")
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    for layer in LAYERS:
        np.testing.assert_array_equal(lines[layer].get_ydata(), changed.changes(layer).filters)
        assert lines[layer].get_xdata().tolist() == [1, 2, 3]
    assert figure._repr_png_()[1:4] == b"PNG"
    followed = Evolution(some_inputs(), ["relu1"], 1)
    followed.observe(make_deep(), 0)
    with pytest.raises(BadInputError, match="there is only one step"):
        followed.result.plot("curves")


def test_names_of_any_length_stay_inside_the_figures_and_apart(changed: EvolutionResult) -> None:
    long = "a_$name$_that_is_so_long_that_nobody_reads_it"
    layers = tuple(replace(own, name=f"{own.name}.{long}") for own in changed.layers)
    found = replace(changed, layers=layers, steps=tuple(f"{one}_{long}" for one in "abcd"), network=long)
    for kind in ("grid", "curves"):
        figure = found.plot(kind)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        texts = [own for own in figure.findobj(Text) if own.get_text() and own.get_visible()]
        boxes = {own: own.get_window_extent(renderer) for own in texts}
        width, height = figure.bbox.size
        assert len(texts) > 15
        assert [t.get_text() for t, b in boxes.items() if b.x0 < 0 or b.x1 > width] == []
        assert [t.get_text() for t, b in boxes.items() if b.y0 < 0 or b.y1 > height] == []
        for axes in figure.axes:
            assert all(boxes[left].x1 < boxes[right].x0 for left, right in pairwise(axes.get_xticklabels()))
    title = next(own for own in texts if own.get_text() == figure.get_suptitle())
    assert not any(
        boxes[title].overlaps(boxes[own]) for legend in figure.legends for own in legend.get_texts()
    )
