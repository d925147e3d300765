"""The descent: the best images are kept, each rests or is lost by itself, jitter and bounds hold at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from backlight import Network
from backlight.errors import ActivationError
from backlight.inversion import RECIPES, InversionConfig, Place, Recipe, Stage, invert
from backlight.inversion import descent as descents
from backlight.inversion.descent import bounded
from backlight.inversion.optimisers import Adam, Momentum
from backlight.inversion.priors import Norm, TotalVariation
from backlight.inversion.recipes import wide


@pytest.mark.parametrize(("recipe", "bound"), [("wide", 240), ("ijcv2016", 160), ("quick", 240)])
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


def staged(*stages: Stage, patience: int | None = None) -> Recipe:
    return replace(wide(Place((3, 32, 32), 0.1, False, 2.0)), stages=stages, patience=patience, bound=None)


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


def test_it_stops_when_nothing_improves(net: Network, picture: Image.Image) -> None:
    still = lambda place, strength: replace(  # noqa: E731
        wide(place), stages=(Stage(Momentum(0.0), 300),), patience=7
    )
    RECIPES["still"] = still
    found = invert(net, picture, "relu2", InversionConfig("still"))
    del RECIPES["still"]
    assert found.stopped == "no improvement"
    assert found.curves.shape[1] == 8


def test_a_search_that_explodes_keeps_its_best(net: Network, picture: Image.Image) -> None:
    def explosive(place: Place, strength: float | None) -> Recipe:
        own = wide(place)
        return replace(own, stages=(Stage(Momentum(10.0), 5), Stage(Momentum(1e30), 50)), bound=None)

    RECIPES["explosive"] = explosive
    found = invert(net, picture, "relu2", InversionConfig("explosive"))
    del RECIPES["explosive"]
    assert found.stopped == "diverged"
    assert 5 < found.curves.shape[1] < 55
    assert np.isfinite(found.images).all()
    assert np.isfinite(found.curves).all()


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


def test_colours_are_shortened_and_never_turned() -> None:
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64) * 100
    found = bounded(x, 160.0)
    lengths = x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, x * (160 / lengths).clamp(max=1))
    assert bounded(x, None) is x


def test_the_middle_of_an_odd_margin_is_rounded_down() -> None:
    """*Convention*: of 5 rows the middle 2 begin at row 1."""
    images = torch.arange(20.0).view(1, 1, 5, 4)
    assert descents.central(images, (2, 2)).flatten().tolist() == [5, 6, 9, 10]


def test_terms_are_the_weighted_objective_and_each_prior_and_the_gradient_is_of_their_sum() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    recipe = Recipe("both", 3.0, (Norm(0.5, 2.0), TotalVariation(0.25, 2.0)), (), "normal", 1.0)
    search = descents.Search(lambda seen: seen**3, lambda codes: codes.flatten(1).sum(1), recipe, (4, 5))
    assert search.terms == ("objective", *(prior.name for prior in recipe.priors))
    terms, gradient = descents.evaluate(search, x)
    expected = [3 * (x**3).flatten(1).sum(1), *(prior(x)[0] for prior in recipe.priors)]
    torch.testing.assert_close(terms, torch.stack(expected))
    torch.testing.assert_close(gradient, 9 * x**2 + sum(prior(x)[1] for prior in recipe.priors))


def quadratic(steps: int) -> descents.Search:
    """Return the search for an image of ones, by plain gradient steps."""
    stages = (Stage(Momentum(0.2, 0.0), steps),)
    recipe = Recipe("plain", 1.0, (), stages, "normal", 1.0)
    return descents.Search(
        lambda seen: seen,
        lambda codes: (codes - 1).square().flatten(1).sum(1),
        recipe,
        (2, 2),
        frozenset({1, 3}),
    )


def test_a_descent_reports_its_steps_and_keeps_frames_and_the_best() -> None:
    told: list[tuple[int, float]] = []
    start = torch.tensor([0.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    found = descents.descend(quadratic(5), start, [], lambda done, goal: told.append((done, goal)))
    assert [done for done, _ in told] == [1, 2, 3, 4, 5]
    assert told[0][1] == pytest.approx((4 * 1 + 4 * 4) / 2)
    assert found.stopped == ["finished", "finished"]
    assert len(found.curves) == 5
    assert found.frame_steps == [1, 3, 5]
    torch.testing.assert_close(found.frames[0], start)
    torch.testing.assert_close(found.frames[-1], found.best)
    torch.testing.assert_close(found.goals, found.curves[-1][0])


def test_a_start_without_a_finite_cost_is_refused() -> None:
    start = torch.full((1, 1, 2, 2), torch.nan)
    with pytest.raises(
        ActivationError, match="noise that the search starts from has no finite code; look for NaN"
    ):
        descents.descend(quadratic(3), start, [])
