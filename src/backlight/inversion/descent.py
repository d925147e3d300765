"""The search itself: images go down by a recipe, and the best so far are never lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from backlight.errors import ActivationError
from backlight.inversion.objectives import Objective
from backlight.inversion.recipes import Recipe, Stage

Stopped = Literal["finished", "no improvement", "interrupted", "diverged"]
Watch = Callable[[int, float], None]
"""Told after each step how many are done, and the mean over the images of the best objective."""


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched for, and how.

    Attributes:
        codes: From grey levels without their mean (n, c, h, w) to codes, differentiable.
        objective: What the codes should be like.
        recipe: Priors, stages and bounds.
        size: (h, w) of what the network sees.
        frames_at: Steps after which the best images so far are kept.
    """

    codes: Callable[[Tensor], Tensor]
    objective: Objective
    recipe: Recipe
    size: tuple[int, int]
    frames_at: frozenset[int] = frozenset()

    @property
    def terms(self) -> tuple[str, ...]:
        """What the rows of the curves are: the objective times its weight, then each prior."""
        return ("objective", *(prior.name for prior in self.recipe.priors))


@dataclass(eq=False)
class Descent:
    """How far a search has come.

    Attributes:
        best: (n, c, H, W) the images of the lowest cost, since costs compare: jitter changes them.
        costs: (n,) their cost.
        goals: (n,) their objective, without its weight.
        curves: For each step (terms, n) what each term costs.
        frames: (n, c, h, w) the best images after the steps in `frames_at`, and after the last.
        frame_steps: After how many steps each frame was.
        stopped: (n,) why the search of each ended.
    """

    best: Tensor
    costs: Tensor
    goals: Tensor
    curves: list[Tensor] = field(default_factory=list)
    frames: list[Tensor] = field(default_factory=list)
    frame_steps: list[int] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)


def descend(
    search: Search, start: Tensor, generators: Sequence[torch.Generator], watch: Watch | None = None
) -> Descent:
    """Return the best images of a search, (n, c, h, w).

    Each image goes its own way, however many there are: one that improves no more in a stage, or is lost to infinity,
    rests until the next, and what has exploded begins that with its best. Ctrl-C ends the search early.

    Args:
        search: What is searched for.
        start: (n, c, H, W) where the images begin; larger than what the network sees where they are moved about.
        generators: One for each image: where it is moved.
        watch: Told of each step.

    Raises:
        ActivationError: The start has no finite cost.
    """
    nothing = start.new_full((len(start),), torch.inf)
    descent = Descent(start, nothing, nothing)
    try:
        x, compares = start, False
        for stage in search.recipe.stages:
            if not stage.jitter:
                x, descent.best = central(x, search.size), central(descent.best, search.size)
            if stage.jitter or not compares:
                descent.costs = torch.full_like(descent.costs, torch.inf)
            compares = not stage.jitter
            x = _run(search, stage, x, generators, descent, watch)
    except KeyboardInterrupt:
        if not descent.curves:
            raise
        descent.stopped = ["interrupted"] * len(start)
    descent.best = central(descent.best, search.size)
    if len(descent.curves) not in descent.frame_steps:
        _keep_frame(search, descent)
    return descent


def central(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the middle of images, (n, c, h, w) with (h, w) as in size; of an odd margin, half is rounded down."""
    top, left = (images.shape[2] - size[0]) // 2, (images.shape[3] - size[1]) // 2
    return images[:, :, top : top + size[0], left : left + size[1]]


def _run(
    search: Search,
    stage: Stage,
    x: Tensor,
    generators: Sequence[torch.Generator],
    descent: Descent,
    watch: Watch | None,
) -> Tensor:
    """Go down one stage, and return where it ends; the best images go into the descent."""
    step = stage.optimiser.start(stage.steps)
    falls = _Falls(search.recipe)
    lost = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    under_way = ~lost
    begin = costs = descent.costs
    for done in range(stage.steps):
        terms, gradient = evaluate(search, x, generators if stage.jitter else ())
        costs = terms.sum(0)
        gone = ~costs.isfinite()
        if gone.any():
            if not descent.curves:
                raise ActivationError(
                    "the noise that the search starts from has no finite code; look for NaN or infinite weights"
                )
            lost, under_way = lost | gone, under_way & ~gone
            terms = torch.where(gone, descent.curves[-1], terms)
        begin = begin if done else costs
        _keep_best(search, descent, x, terms, costs, under_way)
        if watch is not None:
            watch(len(descent.curves), float(descent.goals.mean()))
        under_way = under_way & falls.of(descent.costs)
        if not under_way.any():
            break
        following = bounded(step(x, costs, gradient), search.recipe.bound)
        x = following if under_way.all() else torch.where(_each(under_way), following, x)
    descent.stopped = [
        "diverged" if gone else "finished" if going else "no improvement"
        for gone, going in zip(lost.tolist(), under_way.tolist(), strict=True)
    ]
    exploded = lost | (costs > begin)
    return torch.where(_each(exploded), descent.best, x) if exploded.any() else x


def evaluate(search: Search, x: Tensor, generators: Sequence[torch.Generator] = ()) -> tuple[Tensor, Tensor]:
    """Return (terms, n) what images cost and the gradient of their sum, (n, c, H, W).

    Args:
        search: What is searched for.
        x: (n, c, H, W) images in grey levels without their mean.
        generators: Moves each image; none for the middle of each.
    """
    seen, corners = _moved(x, search.size, generators)
    seen = seen.detach().requires_grad_()
    with torch.enable_grad():
        goals = search.objective(search.codes(seen)) * search.recipe.weight
        (inner,) = torch.autograd.grad(goals.sum(), seen)
    terms = [goals.detach()]
    gradient = _put_back(inner, x, corners)
    for prior in search.recipe.priors:
        cost, slope = prior(x)
        terms.append(cost)
        gradient = gradient.add_(slope)
    return torch.stack(terms), gradient


def bounded(x: Tensor, bound: float | None) -> Tensor:
    """Return images whose colours are at most `bound` long: what is longer is shortened (2016, section 2.1)."""
    if bound is None:
        return x
    lengths = x.square().sum(1, keepdim=True).sqrt_()  # vector_norm takes ten times as long over channels
    shortened: Tensor = x * (bound / lengths.clamp_min(bound))
    return shortened


def _moved(
    x: Tensor, size: tuple[int, int], generators: Sequence[torch.Generator]
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Return what the network sees of each image, and where in it that lies."""
    room = x.shape[2] - size[0], x.shape[3] - size[1]
    if room == (0, 0):
        return x, []
    if not generators:
        return central(x, size), [(room[0] // 2, room[1] // 2)] * len(x)
    draws = [[int(torch.randint(r + 1, (), generator=own)) for r in room] for own in generators]
    corners = [(top, left) for top, left in draws]
    seen = [x[i, :, t : t + size[0], left : left + size[1]] for i, (t, left) in enumerate(corners)]
    return torch.stack(seen), corners


def _put_back(inner: Tensor, x: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
    if not corners:
        return inner
    whole = torch.zeros_like(x)
    height, width = inner.shape[2:]
    for i, (top, left) in enumerate(corners):
        whole[i, :, top : top + height, left : left + width] = inner[i]
    return whole


def _keep_best(
    search: Search, descent: Descent, x: Tensor, terms: Tensor, costs: Tensor, under_way: Tensor
) -> None:
    better = (costs < descent.costs) & under_way
    descent.best = x if better.all() else torch.where(_each(better), x, descent.best)
    descent.goals = torch.where(better, terms[0] / search.recipe.weight, descent.goals)
    descent.costs = torch.where(better, costs, descent.costs)
    descent.curves.append(terms)
    if len(descent.curves) in search.frames_at:
        _keep_frame(search, descent)


def _each(chosen: Tensor) -> Tensor:
    """Return (n,) as it goes with images."""
    return chosen.view(-1, 1, 1, 1)


def _keep_frame(search: Search, descent: Descent) -> None:
    descent.frames.append(central(descent.best, search.size).clone())
    descent.frame_steps.append(len(descent.curves))


class _Falls:
    """Which images' best costs still fall in a stage."""

    def __init__(self, recipe: Recipe) -> None:
        self._patience, self._tolerance = recipe.patience, recipe.tolerance
        self._past: list[Tensor] = []

    def of(self, costs: Tensor) -> Tensor:
        """Return (n,) whether an image's best cost, now this, has fallen by the tolerance over the patience."""
        if self._patience is not None:
            self._past = [*self._past[-self._patience :], costs]
            if len(self._past) > self._patience:
                before = self._past[0]
                return before - costs > self._tolerance * before.abs()
        return torch.ones_like(costs, dtype=torch.bool)
