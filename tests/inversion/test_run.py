"""Inversion: known images are recovered, restarts do not depend on each other, nothing found is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backlight import Box, Network, Preprocessing, Unit, capture
from backlight.inversion import (
    RECIPES,
    Inversion,
    InversionConfig,
    Place,
    Recipe,
    Stage,
    caricature,
    invert,
    invert_all,
    maximise,
    spread_of,
)
from backlight.inversion import descent as descents
from backlight.inversion.codes import Coder
from backlight.inversion.colours import Colours
from backlight.inversion.optimisers import Adam, Momentum
from backlight.inversion.priors import Norm, TotalVariation
from backlight.inversion.recipes import best
from backlight.inversion.search import Task
from conftest import captured_small_net

SIDE = 6
N = 3 * SIDE * SIDE


class Linear(nn.Module):
    """A representation that is one matrix."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.inner = nn.Linear(*matrix.shape, bias=False)
        self.inner.weight = nn.Parameter(matrix)

    def forward(self, x: Tensor) -> Tensor:
        """Return the product with the image, (n, 108)."""
        return self.inner(x.flatten(1))


@pytest.fixture
def quick() -> Iterator[None]:
    """Add the recipe "quick": the default with few steps, which moves the image about."""
    stages = (Stage(Adam(12.0), 12, jitter=True), Stage(Adam(8.0), 12))
    RECIPES["quick"] = lambda place, strength: replace(best(place, strength), stages=stages)
    yield
    del RECIPES["quick"]


@pytest.fixture
def net() -> Network:
    """Return a small network with the preprocessing of a zoo."""
    preprocessing = Preprocessing(None, (32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return captured_small_net(preprocessing)


@pytest.fixture
def picture() -> Image.Image:
    """Return a smooth picture with an edge."""
    rows, cols = np.mgrid[0:32, 0:32]
    values = np.stack([8 * rows, 255 - 8 * cols, 200 * (rows > cols)], 2)
    return Image.fromarray(values.astype(np.uint8))


def orthogonal() -> Tensor:
    return torch.linalg.qr(torch.randn(N, N, dtype=torch.float64))[0]


@pytest.mark.parametrize(
    "matrix", [torch.eye(N, dtype=torch.float64), orthogonal()], ids=["identity", "orthogonal"]
)
def test_a_rotation_is_inverted_to_the_limit_of_the_prior(matrix: Tensor) -> None:
    """With quadratic priors the optimum is the solution of a linear system, the same for every rotation."""
    net = capture(Linear(matrix), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64))
    image = torch.randn(3, SIDE, SIDE, dtype=torch.float64)
    priors = Norm(2e-6, 2.0), TotalVariation(5e-6, 2.0)
    RECIPES["quadratic"] = lambda place, strength: Recipe(
        "quadratic", 1.0, priors, (Stage(Adam(8.0), 2000),), "normal", 60.0
    )
    found = invert(net, image, "inner", InversionConfig("quadratic"))
    del RECIPES["quadratic"]
    levels = torch.from_numpy(found.images[0]).double() * 68.9
    wanted = image * 68.9
    basis = torch.eye(N, dtype=torch.float64).view(N, 3, SIDE, SIDE)
    hessian = sum(prior(basis)[1] for prior in priors).view(N, N) + 2 * torch.eye(N) / wanted.square().sum()
    exact = torch.linalg.solve(hessian, 2 * wanted.flatten() / wanted.square().sum()).view_as(wanted)
    assert float((exact - wanted).norm() / wanted.norm()) > 0.05  # the priors do have a say
    torch.testing.assert_close(levels, exact, rtol=1e-3, atol=0.05)


def test_without_priors_the_image_itself_comes_back() -> None:
    net = capture(Linear(orthogonal()), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64))
    image = torch.randn(3, SIDE, SIDE, dtype=torch.float64)
    RECIPES["bare"] = lambda place, strength: Recipe(
        "bare", 1.0, (), (Stage(Adam(8.0), 1500),), "uniform", 46.0
    )
    found = invert(net, image, "inner", InversionConfig("bare"))
    del RECIPES["bare"]
    np.testing.assert_allclose(found.images[0], image.numpy(), atol=2e-3)
    assert found.relative_errors[0] < 1e-3


@pytest.mark.parametrize(("recipe", "bound"), [("default", 240), ("ijcv2016", 160), ("quick", 240)])
def test_the_bounded_range_holds_at_every_step(
    recipe: str, bound: float, net: Network, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    height, width = net.input_shape[1:]
    stark = np.random.default_rng(0).integers(0, 2, (height, width, 3)).astype(np.uint8) * 255
    lengths: list[float] = []
    plain = descents.evaluate

    def watched(search: object, x: Tensor, generators: object = ()) -> tuple[Tensor, Tensor]:
        lengths.append(float(x.norm(dim=1).max()))
        return plain(search, x, generators)  # type: ignore[arg-type]

    monkeypatch.setattr(descents, "evaluate", watched)
    found = invert(net, Image.fromarray(stark), "relu2", InversionConfig(recipe, strength=1e4))
    assert len(lengths) == found.curves.shape[1]
    assert max(lengths[1:]) <= bound * (1 + 1e-5)
    assert max(lengths[1:]) > bound - 10  # it had something to hold


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool", "relu2", "fc"])
def test_any_layer_comes_near(layer: str, net: Network, picture: Image.Image) -> None:
    found = invert(net, picture, layer)
    assert found.relative_errors[0] < 0.2
    noise = float(np.sqrt(found.curves[0, 0, 0] / best_weight(net, layer)))
    assert found.relative_errors[0] < 0.7 * noise
    with torch.no_grad():
        code, target = (
            net.features([net.layer(layer)])(x)[0] for x in (torch.tensor(found.images), net.prepare(picture))
        )
    assert float((code - target).norm() / target.norm()) == pytest.approx(found.relative_errors[0], rel=1e-3)
    assert found.norm == pytest.approx(float(target.norm()), rel=1e-4)


def best_weight(net: Network, layer: str) -> float:
    return best(Place.of(net, net.layer(layer))).weight


def test_a_restart_does_not_depend_on_the_others(net: Network, picture: Image.Image, quick: None) -> None:
    one, three = (invert(net, picture, "relu2", InversionConfig("quick", restarts=n)) for n in (1, 3))
    np.testing.assert_allclose(three.images[0], one.images[0], atol=1e-4)
    assert abs(three.images[1] - three.images[0]).max() > 0.1
    assert three.best == int(three.goals.argmin())


def staged(*stages: Stage, patience: int | None = None) -> Recipe:
    return replace(best(Place((3, 32, 32), 0.1, False, 2.0)), stages=stages, patience=patience, bound=None)


def test_a_restart_that_improves_no_more_rests_by_itself(net: Network, picture: Image.Image) -> None:
    RECIPES["waiting"] = lambda place, strength: replace(
        staged(Stage(Adam(30.0), 200), patience=6), tolerance=0.05
    )
    six = invert(net, picture, "relu2", InversionConfig("waiting", restarts=6))
    alone = invert(net, picture, "relu2", InversionConfig("waiting"))
    del RECIPES["waiting"]
    assert (alone.stopped, six.stopped) == ("no improvement", "no improvement")
    n_steps = alone.curves.shape[1]
    assert n_steps < six.curves.shape[1]
    np.testing.assert_allclose(six.images[0], alone.images[0], atol=1e-4)
    np.testing.assert_allclose(six.curves[:, :n_steps, 0], alone.curves[:, :, 0], rtol=1e-3)
    assert np.ptp(six.curves[:, n_steps - 1 :, 0], axis=1).max() < 1e-6  # it rests


@dataclass(frozen=True)
class Losing:
    """Adam that sends the second of several images to infinity at the sixth step."""

    def start(self, n_steps: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Return a fresh descent."""
        plain, calls = Adam(8.0).start(n_steps), count(1)

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            following = plain(x, value, gradient)
            if next(calls) == 6 and len(x) > 1:
                following[1] = torch.inf
            return following

        return step


def test_a_restart_that_is_lost_takes_none_along(net: Network, picture: Image.Image) -> None:
    for name, stages in (
        ("last", [Stage(Losing(), 30)]),
        ("first", [Stage(Losing(), 30), Stage(Adam(4.0), 9)]),
    ):
        RECIPES[name] = lambda place, strength, stages=stages: staged(*stages)  # type: ignore[misc]
        three = invert(net, picture, "relu2", InversionConfig(name, restarts=3))
        alone = invert(net, picture, "relu2", InversionConfig(name))
        del RECIPES[name]
        assert (three.stopped, alone.stopped) == ("diverged" if name == "last" else "finished", "finished")
        assert np.isfinite(three.curves).all()
        np.testing.assert_allclose(three.images[0], alone.images[0], atol=1e-4)
        costs = three.curves[:, :, 1].sum(0)
        assert three.goals[1] == pytest.approx(three.curves[0, costs.argmin(), 1] / staged().weight, rel=1e-3)


@pytest.mark.parametrize(("rate", "steps"), [(1e4, 3), (3e3, 4)])
def test_a_stage_that_makes_it_worse_loses_nothing(
    rate: float, steps: int, net: Network, picture: Image.Image
) -> None:
    stages = Stage(Adam(8.0), 40), Stage(Momentum(rate), steps), Stage(Momentum(1e-12), 5)
    RECIPES["worse"] = lambda place, strength: staged(*stages)
    found = invert(net, picture, "relu2", InversionConfig("worse"))
    del RECIPES["worse"]
    costs = found.curves[:, :, 0].sum(0)
    assert costs[40 + steps - 1] > 10 * costs[:40].min()
    at = int(costs.argmin())
    assert found.goals[0] == pytest.approx(found.curves[0, at, 0] / staged().weight, rel=1e-3)
    assert costs[-1] == pytest.approx(costs.min(), rel=1e-3)  # the last stage began with the best


def test_an_image_does_not_depend_on_its_batch(net: Network, picture: Image.Image, quick: None) -> None:
    other = picture.rotate(90)
    both = invert_all(net, [other, picture], "relu2", InversionConfig("quick", restarts=2))
    alone = invert(net, picture, "relu2", InversionConfig("quick", restarts=2))
    np.testing.assert_allclose(both[1].images, alone.images, atol=1e-4)
    np.testing.assert_array_equal(both[1].original, alone.original)


def test_the_seed_decides_everything(net: Network, picture: Image.Image, quick: None) -> None:
    first, again, other = (
        invert(net, picture, "relu2", InversionConfig("quick", seed=seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.images, again.images)
    assert abs(first.images - other.images).max() > 0.1


def test_a_code_is_inverted_as_its_image_is(net: Network, picture: Image.Image, quick: None) -> None:
    with torch.no_grad():
        (code,) = net.features([net.layer("relu2")])(net.prepare(picture))
    by_image = invert(net, picture, "relu2", InversionConfig("quick"))
    for given in (code[0], code, code[0].numpy(), code[0].double().numpy()):
        found = invert(net, given, "relu2", InversionConfig("quick"))
        np.testing.assert_allclose(found.images, by_image.images, atol=1e-5)
        assert found.label is None
        assert found.same_label is None
        assert found.original.size == 0


@pytest.mark.parametrize(
    "part",
    [{"channels": (0, 5)}, {"box": Box(2, 3, 5, 7)}, {"centre": 3}, {"channels": (1,), "centre": 2}],
    ids=str,
)
def test_only_a_part_of_the_code_counts(part: dict[str, object], net: Network, quick: None) -> None:
    code = torch.rand(12, 8, 8)
    counts = torch.zeros(12, 8, 8, dtype=torch.bool)
    box = (
        part.get("box") or {3: Box(2, 2, 5, 5), 2: Box(3, 3, 5, 5), None: Box(0, 0, 8, 8)}[part.get("centre")]
    )  # type: ignore[index]
    assert isinstance(box, Box)
    counts[list(part.get("channels", range(12))), box.top : box.bottom, box.left : box.right] = True  # type: ignore[call-overload]
    config = InversionConfig("quick", **part)  # type: ignore[arg-type]
    found, same, other = (
        invert(net, own, "relu2", config)
        for own in (
            code,
            torch.where(counts, code, torch.rand(12, 8, 8)),
            torch.where(counts, code + 1, code),
        )
    )
    np.testing.assert_array_equal(found.images, same.images)
    assert abs(found.images - other.images).max() > 1e-3
    assert found.norm == pytest.approx(float(code[counts].norm()), rel=1e-5)


def test_errors_in_the_ways_of_both_papers(net: Network, picture: Image.Image, quick: None) -> None:
    photographs = torch.randn(5, 3, 32, 32)
    found = invert(net, picture, "relu2", InversionConfig("quick", restarts=2), photographs)
    features = net.features([net.layer("relu2")])
    with torch.no_grad():
        codes = features(photographs)[0].flatten(1).double()
        distance = (
            (features(torch.tensor(found.images))[0] - features(net.prepare(picture))[0])
            .flatten(1)
            .norm(dim=1)
        )
    pairs = [float((a - b).norm()) for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j]
    assert found.spread is not None
    assert found.spread == spread_of(net, photographs, "relu2")
    assert found.spread.distance == pytest.approx(np.mean(pairs), rel=1e-5)
    np.testing.assert_allclose(found.normalised_errors, distance.numpy() / np.mean(pairs), rtol=1e-4)  # type: ignore[arg-type]
    squared = np.sum(np.square(pairs)) / 25  # the zeros of the diagonal count
    np.testing.assert_allclose(found.squared_errors, distance.numpy() ** 2 / squared, rtol=1e-4)  # type: ignore[arg-type]


def test_the_answer_is_compared(net: Network, picture: Image.Image) -> None:
    found = invert(net, picture, "fc")
    assert found.label == int(net(net.prepare(picture)).argmax())
    assert found.same_label is not None
    assert found.same_label[0] == (int(net(torch.tensor(found.images)).argmax()) == found.label)
    assert found.same_label.all()


def test_ctrl_c_keeps_the_best_so_far(net: Network, picture: Image.Image, quick: None) -> None:
    class Watch:
        """Takes the error of each step, and presses Ctrl-C after 18."""

        def __init__(self) -> None:
            self.errors: list[float] = []

        def __call__(self, phase: str, done: int, total: int) -> None:
            """Take a step."""
            assert (phase, total, done) == ("relu2", 24, len(self.errors))
            if done == 18:
                raise KeyboardInterrupt

        def error(self, value: float) -> None:
            """Take the error."""
            self.errors.append(value)

    watch = Watch()
    found = invert(net, picture, "relu2", InversionConfig("quick"), progress=watch)
    assert found.stopped == "interrupted"
    assert found.curves.shape[1] == 18
    assert found.relative_errors[0] == pytest.approx(watch.errors[-1], rel=1e-3)


def test_ctrl_c_while_the_pictures_are_made_keeps_what_was_found(
    net: Network, picture: Image.Image, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, presses = Colours.to_pixels, []

    def pressed(self: Colours, levels: torch.Tensor) -> object:
        presses.append(1)
        if len(presses) <= n_presses:
            raise KeyboardInterrupt
        return plain(self, levels)

    whole = invert(net, picture, "relu2", InversionConfig("quick", frames=3))
    monkeypatch.setattr(Colours, "to_pixels", pressed)
    n_presses = 1
    found = invert(net, picture, "relu2", InversionConfig("quick", frames=3))
    assert (whole.stopped, found.stopped) == ("finished", "interrupted")
    assert np.array_equal(found.images, whole.images)
    assert np.array_equal(found.frames, whole.frames)
    presses, n_presses = [], 2
    with pytest.raises(KeyboardInterrupt):
        invert(net, picture, "relu2", InversionConfig("quick"))


def test_it_stops_when_nothing_improves(net: Network, picture: Image.Image) -> None:
    still = lambda place, strength: replace(  # noqa: E731
        best(place), stages=(Stage(Momentum(0.0), 300),), patience=7
    )
    RECIPES["still"] = still
    found = invert(net, picture, "relu2", InversionConfig("still"))
    del RECIPES["still"]
    assert found.stopped == "no improvement"
    assert found.curves.shape[1] == 8


def test_a_search_that_explodes_keeps_its_best(net: Network, picture: Image.Image) -> None:
    def explosive(place: Place, strength: float | None) -> Recipe:
        own = best(place)
        return replace(own, stages=(Stage(Momentum(10.0), 5), Stage(Momentum(1e30), 50)), bound=None)

    RECIPES["explosive"] = explosive
    found = invert(net, picture, "relu2", InversionConfig("explosive"))
    del RECIPES["explosive"]
    assert found.stopped == "diverged"
    assert 5 < found.curves.shape[1] < 55
    assert np.isfinite(found.images).all()
    assert np.isfinite(found.curves).all()


def test_frames_show_the_way(net: Network, picture: Image.Image, quick: None) -> None:
    found = invert(net, picture, "relu2", InversionConfig("quick", restarts=2, frames=6))
    assert found.frames.shape == (len(found.frame_steps), 2, 32, 32, 3)
    assert list(found.frame_steps) == sorted(set(found.frame_steps))
    assert found.frame_steps[-1] == 24
    np.testing.assert_array_equal(found.frames[-1], found.pictures)
    assert (found.frames[0] != found.frames[-1]).any()


def test_a_caricature_has_more_of_the_code(net: Network, picture: Image.Image) -> None:
    found = caricature(net, picture, "relu2")
    assert found.curves[0, 0, 0] / best_weight(net, "relu2") == pytest.approx(
        -1, rel=0.2
    )  # it starts from the image
    assert -found.goals[0] > 1.5
    with pytest.raises(ValueError, match="matches no code, so it has no error"):
        _ = found.relative_errors


@pytest.mark.parametrize("unit", [Unit("relu2", 3), Unit("relu2", 3, 1, 6), Unit("fc", 2)], ids=str)
def test_a_unit_is_maximised(unit: Unit, net: Network) -> None:
    found = maximise(net, unit, largest=2.0)
    row, col = (4, 4) if unit.row is None else (unit.row, unit.col)
    with torch.no_grad():
        (maps,) = net.features([net.layer(unit.layer)])(torch.tensor(found.images))
        (noise,) = net.features([net.layer(unit.layer)])(torch.randn(50, 3, 32, 32))
    of_unit = (0, unit.channel) if unit.layer == "fc" else (0, unit.channel, row, col)
    value = float(maps[of_unit])
    assert -found.goals[0] == pytest.approx(value / 2.0, rel=1e-3)
    assert value > float(noise[:, unit.channel].amax())


def test_an_array_may_lie_in_memory_in_any_way(net: Network, quick: None) -> None:
    code = np.random.default_rng(0).random((12, 8, 8)).astype(np.float32)
    plain = invert(net, code, "relu2", InversionConfig("quick"))
    for own in (code[::-1].copy()[::-1], code.astype(">f4"), np.asfortranarray(code)):
        np.testing.assert_array_equal(
            invert(net, own, "relu2", InversionConfig("quick")).images, plain.images
        )


@pytest.mark.parametrize("channels", [1, 2])
def test_networks_of_few_channels_have_grey_pictures(channels: int) -> None:
    torch.manual_seed(0)
    few = capture(nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU()), (channels, 16, 16))
    found = invert(few, torch.rand(channels, 16, 16), "1")
    assert found.pictures.shape == (1, 16, 16, 3)
    assert (found.pictures[..., 0] == found.pictures[..., 2]).all()


@pytest.mark.parametrize(
    ("recipe", "strength", "weight"),
    [
        ("default", None, 10_000 / 9),
        ("cvpr2015", None, 10_000 / 9),
        ("cvpr2015", 3.0, 10_000 / 9),
        ("ijcv2016", 3.0, 3.0),
    ],
)
def test_a_unit_weighs_by_its_field_unless_a_weight_is_given(
    recipe: str, strength: float | None, weight: float, net: Network
) -> None:
    task = Task(Coder(net, "conv1"), "maximise", InversionConfig(recipe, strength))
    assert task.recipe.weight == pytest.approx(weight)


@pytest.mark.parametrize("layer", ["3", "0"])
def test_a_unit_of_a_network_with_fixed_sizes_is_maximised(layer: str) -> None:
    """Jitter makes the canvas larger than what such a network takes."""
    model = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    fixed = capture(model, (3, 32, 32))
    found = maximise(fixed, Unit(layer, 1))
    assert -found.goals[0] > 0
    assert found.images.shape == (1, 3, 32, 32)


def test_it_is_saved_and_loaded(net: Network, picture: Image.Image, tmp_path: Path, quick: None) -> None:
    found = invert(
        net, picture, "relu2", InversionConfig("quick", centre=3, frames=3), torch.randn(3, 3, 32, 32)
    )
    found.save(tmp_path / "found")
    loaded = Inversion.load(tmp_path / "found")
    assert loaded.summary() == found.summary()
    assert loaded.config == found.config
    assert loaded.spread == found.spread
    np.testing.assert_array_equal(loaded.images, found.images)
    assert found.plot().axes
    assert loaded._repr_png_()[:4] == b"\x89PNG"


def test_the_jitter_moves_the_image_to_every_place(net: Network) -> None:
    seen: list[Tensor] = []

    def codes(levels: Tensor) -> Tensor:
        seen.append(levels.detach())
        return levels.mean((2, 3))

    canvas = torch.arange(6.0 * 7).view(1, 1, 6, 7)
    search = descents.Search(
        codes, lambda found: found.sum(1), Recipe("none", 1.0, (), (), "normal", 1.0), (4, 4)
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        terms, gradient = descents.evaluate(search, canvas, [generator])
        assert float(gradient.sum()) == pytest.approx(1.0)
        corner = int(seen[-1][0, 0, 0, 0])
        row, col = divmod(corner, 7)
        assert float(gradient[0, 0, row : row + 4, col : col + 4].sum()) == pytest.approx(1.0)
        assert float(terms[0, 0]) == pytest.approx(float(canvas[0, 0, row : row + 4, col : col + 4].mean()))
    assert {int(own[0, 0, 0, 0]) for own in seen} == {7 * row + col for row in range(3) for col in range(4)}
