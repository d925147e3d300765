"""The descent: images follow the gradient of their cost through the stages of a recipe; the best are always kept."""

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
OnStep = Callable[[int, float], None]
"""Called after each step with the number of steps done and the mean over the images of the best objective."""


@dataclass(frozen=True, eq=False)
class Search:
    """What to search for, and how.

    Attributes:
        codes: From grey levels without their mean (n, c, h, w) to codes, differentiable.
        objective: What the codes should be like.
        recipe: Priors, stages and bounds.
        size: (h, w) of what the network sees.
        frames_at: Steps after which to keep a copy of the best images.
    """

    codes: Callable[[Tensor], Tensor]
    objective: Objective
    recipe: Recipe
    size: tuple[int, int]
    frames_at: frozenset[int] = frozenset()

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the curves: the objective times its weight, then each prior."""
        return ("objective", *(prior.name for prior in self.recipe.priors))


@dataclass(eq=False)
class Descent:
    """How far a search has come.

    Attributes:
        best: (n, c, H, W) the images of lowest cost since costs became comparable: jitter changes them.
        costs: (n,) their cost.
        goals: (n,) their objective, without its weight.
        curves: For each step (terms, n) the cost of each term.
        frames: (n, c, h, w) the best images after the steps in `frames_at`, and after the last.
        frame_steps: Number of steps before each frame.
        stopped: (n,) why the search of each image ended.
    """

    best: Tensor
    costs: Tensor
    goals: Tensor
    curves: list[Tensor] = field(default_factory=list)
    frames: list[Tensor] = field(default_factory=list)
    frame_steps: list[int] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)


def descend(
    search: Search, start: Tensor, generators: Sequence[torch.Generator], on_step: OnStep | None = None
) -> Descent:
    """Return the best images of a search, (n, c, h, w).

    The images do not depend on each other: one that stops improving in a stage, or whose cost becomes infinite, rests
    until the next stage, and one that has exploded begins that stage with its best. Ctrl-C ends the search early.

    Args:
        search: What to search for.
        start: (n, c, H, W) where the images begin; larger than what the network sees if a stage jitters.
        generators: One for each image, for its jitter.
        on_step: Called after each step.

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
            # With jitter, each cost is that of another crop and compares with none of another stage: the search for
            # the best starts afresh in every jittered stage, and in the first stage after it.
            if stage.jitter or not compares:
                descent.costs = torch.full_like(descent.costs, torch.inf)
            compares = not stage.jitter
            x = _run(search, stage, x, generators, descent, on_step)
    except KeyboardInterrupt:
        if not descent.curves:  # nothing to keep yet
            raise
        descent.stopped = ["interrupted"] * len(start)
    descent.best = central(descent.best, search.size)
    if len(descent.curves) not in descent.frame_steps:
        _keep_frame(search, descent)
    return descent


def central(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the middle of images, (n, c, h, w) with (h, w) as in size; half of an odd margin is rounded down."""
    top, left = (images.shape[2] - size[0]) // 2, (images.shape[3] - size[1]) // 2
    return images[:, :, top : top + size[0], left : left + size[1]]


def _run(
    search: Search,
    stage: Stage,
    x: Tensor,
    generators: Sequence[torch.Generator],
    descent: Descent,
    on_step: OnStep | None,
) -> Tensor:
    """Run one stage and return the images at its end, (n, c, H, W); the best images go into the descent."""
    step = stage.optimiser.start(stage.steps)
    falls = _Falls(search.recipe)
    # (n,) flags: lost images had an infinite cost in this stage; those under way still move.
    lost = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    under_way = ~lost
    begin = costs = descent.costs
    for done in range(stage.steps):
        terms, gradient = evaluate(search, x, generators if stage.jitter else ())  # (terms, n), shaped like x
        costs = terms.sum(0)
        gone = ~costs.isfinite()
        if gone.any():
            # An infinite cost is final for this stage: the curves repeat the last finite one instead of it.
            terms = _with_last_finite(terms, gone, descent)
            lost, under_way = lost | gone, under_way & ~gone
        begin = begin if done else costs  # (n,) what each image costs when the stage begins
        _keep_best(search, descent, x, terms, costs, under_way)
        if on_step is not None:
            on_step(len(descent.curves), float(descent.goals.mean()))
        under_way = under_way & falls.of(descent.costs)
        if not under_way.any():
            break
        following = bounded(step(x, costs, gradient), search.recipe.bound)
        # The optimiser moves the whole batch; images at rest are put back where they were.
        x = following if under_way.all() else torch.where(_each(under_way), following, x)
    descent.stopped = [_reason(*flags) for flags in zip(lost.tolist(), under_way.tolist(), strict=True)]
    # An image that costs more than at the start of the stage goes back to its best, for the next stage to begin with.
    exploded = lost | (costs > begin)
    return torch.where(_each(exploded), descent.best, x) if exploded.any() else x


def _reason(is_lost: bool, is_under_way: bool) -> Stopped:
    """Return why the search of one image ended."""
    if is_lost:
        return "diverged"
    return "finished" if is_under_way else "no improvement"


def _with_last_finite(terms: Tensor, gone: Tensor, descent: Descent) -> Tensor:
    """Return (terms, n) in which images that are gone, (n,), repeat the costs of the last step.

    Raises:
        ActivationError: There was no step before.
    """
    if not descent.curves:
        raise ActivationError(
            "the noise that the search starts from has no finite code; look for NaN or infinite weights"
        )
    return torch.where(gone, descent.curves[-1], terms)


def evaluate(search: Search, x: Tensor, generators: Sequence[torch.Generator] = ()) -> tuple[Tensor, Tensor]:
    """Return (terms, n) the costs of images, and the gradient of their sum, (n, c, H, W).

    Args:
        search: What to search for.
        x: (n, c, H, W) images in grey levels without their mean.
        generators: One for each image, to crop it at random; none to crop the middle.
    """
    # Only the objective needs the network, and autograd; it sees the crop (n, c, h, w) alone.
    seen, corners = _crops(x, search.size, generators)
    seen = seen.detach().requires_grad_()
    with torch.enable_grad():
        goals = search.objective(search.codes(seen)) * search.recipe.weight  # (n,)
        # No image's cost depends on another image, so the gradient of the sum holds each image's own: (n, c, h, w).
        (inner,) = torch.autograd.grad(goals.sum(), seen)
    terms = [goals.detach()]
    gradient = _put_back(inner, x, corners)
    # The priors see the whole canvas and write their gradients out, which saves a backward pass.
    for prior in search.recipe.priors:
        cost, slope = prior(x)
        terms.append(cost)
        gradient = gradient.add_(slope)
    return torch.stack(terms), gradient


def bounded(x: Tensor, bound: float | None) -> Tensor:
    """Return images whose colours are at most `bound` long: longer ones are shortened (2016, section 2.1)."""
    if bound is None:
        return x
    # (n, 1, h, w) the length of each pixel's colour; vector_norm over channels is ten times slower
    lengths = x.square().sum(1, keepdim=True).sqrt_()
    shortened: Tensor = x * (bound / lengths.clamp_min(bound))
    return shortened


def _crops(
    x: Tensor, size: tuple[int, int], generators: Sequence[torch.Generator]
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Return what the network sees of each image, (n, c, h, w), and the (top, left) of each crop; [] for all of it."""
    room = x.shape[2] - size[0], x.shape[3] - size[1]
    if room == (0, 0):
        return x, []
    if not generators:
        return central(x, size), [(room[0] // 2, room[1] // 2)] * len(x)
    # A crop fits at room + 1 places along an axis. The draw order, row then column, is part of what a seed means.
    draws = [[int(torch.randint(r + 1, (), generator=own)) for r in room] for own in generators]
    corners = [(top, left) for top, left in draws]
    seen = [x[i, :, t : t + size[0], left : left + size[1]] for i, (t, left) in enumerate(corners)]
    return torch.stack(seen), corners


def _put_back(inner: Tensor, x: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
    """Return the gradients of crops, (n, c, h, w), at their places in the canvas, (n, c, H, W): a crop's adjoint."""
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
    """Take each image that is cheaper than its best so far into the descent, and the costs into the curves."""
    better = (costs < descent.costs) & under_way
    descent.best = x if better.all() else torch.where(_each(better), x, descent.best)
    # terms[0] is the objective times its weight, see `Search.terms`
    descent.goals = torch.where(better, terms[0] / search.recipe.weight, descent.goals)
    descent.costs = torch.where(better, costs, descent.costs)
    descent.curves.append(terms)
    if len(descent.curves) in search.frames_at:
        _keep_frame(search, descent)


def _each(chosen: Tensor) -> Tensor:
    """Return flags (n,) as (n, 1, 1, 1), to broadcast over images."""
    return chosen.view(-1, 1, 1, 1)


def _keep_frame(search: Search, descent: Descent) -> None:
    descent.frames.append(central(descent.best, search.size).clone())
    descent.frame_steps.append(len(descent.curves))


class _Falls:
    """Whether the best costs of images still fall in a stage."""

    def __init__(self, recipe: Recipe) -> None:
        self._patience, self._tolerance = recipe.patience, recipe.tolerance
        self._past: list[Tensor] = []

    def of(self, costs: Tensor) -> Tensor:
        """Return (n,) whether each best cost has fallen by the tolerance within the patience; all at first."""
        if self._patience is not None:
            # The last `patience` + 1 costs: the first of them is the one to compare with.
            self._past = [*self._past[-self._patience :], costs]
            if len(self._past) > self._patience:
                before = self._past[0]  # (n,); inner products may make costs negative, hence the magnitude
                return before - costs > self._tolerance * before.abs()
        return torch.ones_like(costs, dtype=torch.bool)
