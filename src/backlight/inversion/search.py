"""A search from beginning to end: what to look for, where to start, and the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import BadInputError
from backlight.inversion.codes import Coder
from backlight.inversion.descent import Descent, Search, Stopped, descend
from backlight.inversion.measures import CodeSpread
from backlight.inversion.mixing import NATURAL_MIXING, mixed
from backlight.inversion.objectives import InnerProduct, Match, Objective
from backlight.inversion.place import Place
from backlight.inversion.recipes import Recipe, recipe_for
from backlight.inversion.result import Goal, Inversion, InversionConfig
from backlight.network.class_output import ClassOutput
from backlight.progress import Watching

_MAXIMISED_AREA = 10_000.0
_USES = ("start", "jitter")
_WORST_FIRST: tuple[Stopped, ...] = ("interrupted", "diverged", "finished")


@runtime_checkable
class ErrorProgress(Protocol):
    """A `progress` that also wants the error of the best images so far.

    Its `error` is called before each step is reported.
    """

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show that this much of a phase is done."""

    def error(self, value: float) -> None:
        """Take the mean relative error of an inversion, or the mean inner product for the other goals."""


@dataclass(frozen=True, eq=False)
class Task:
    """What to look for in one layer.

    Attributes:
        coder: Runs the layer.
        goal: Goal of the search.
        config: How to search.
        spread: Distances between the codes of photographs in this layer, if known.
    """

    coder: Coder
    goal: Goal
    config: InversionConfig
    spread: CodeSpread | None = None

    @property
    def place(self) -> Place:
        """What the recipe has to know about the layer."""
        return Place.of(self.coder.net, self.coder.layer)

    @property
    def recipe(self) -> Recipe:
        """The recipe, with the objective's weight that the goal asks for."""
        place = self.place
        recipe = recipe_for(self.config.recipe, place, self.config.strength, self.goal == "invert")
        given = self.config.strength is not None and recipe.strength_of == "objective"
        # The field is a share of the longer side: times that side it is the field's side in pixels.
        if self.goal == "maximise" and not given:
            return replace(recipe, weight=_MAXIMISED_AREA / (place.field * max(place.shape[1:])) ** 2)
        return recipe

    @property
    def answers(self) -> ClassOutput:
        """The output that the network's answers are read from."""
        return self.coder.net.class_output(self.config.output)

    @property
    def mask(self) -> Tensor | None:
        """The part of a code to match, (1, c, h, w) or (1, c) of 0 and 1; None for all of it."""
        return self.coder.mask(self.config.channels, self.config.box, self.config.centre)


def search(
    task: Task, codes: Tensor, images: Tensor | None, titles: Sequence[str], progress: Watching
) -> list[Inversion]:
    """Search for all restarts of all codes in one batch, and return one result for each code.

    Args:
        task: The layer and the goal.
        codes: (m, c, h, w) or (m, c) the codes sought.
        images: (m, c, h, w) the inputs that these are the codes of; None for codes without images.
        titles: (m,) a name for each.
        progress: Called after each step; an `ErrorProgress` also gets the error.

    Raises:
        BadInputError: The selected part of a code is zero, or for a caricature nowhere positive; the network has no
            such output.
        ActivationError: The network gives no finite code.
    """
    coder, config, recipe = task.coder, task.config, task.recipe
    _ = task.answers  # an unknown output is refused before the search, not after it
    objective, norms = _objective(task, codes)
    wanted = Search(
        codes=coder,
        objective=objective,
        recipe=recipe,
        size=coder.net.input_shape[1:],  # type: ignore[arg-type]
        frames_at=_frame_steps(config.frames, recipe.n_steps),
    )
    # The batch has m * restarts rows, all restarts of one code next to each other.
    generators = [_generator(config.seed, k, "jitter") for _ in codes for k in range(config.restarts)]
    begin = starts(task, recipe, len(codes), images)
    descent = descend(wanted, begin, generators, _reporter(task, recipe, progress))
    try:
        return _results(task, wanted, descent, images, norms, titles)
    except KeyboardInterrupt:
        # the search took minutes, the results take half a second; a second Ctrl-C is obeyed
        descent.stopped = ["interrupted"] * len(begin)
        return _results(task, wanted, descent, images, norms, titles)


def _objective(task: Task, codes: Tensor) -> tuple[Objective, Tensor]:
    """Return the objective of all restarts of all codes, and (m,) the length of the selected part of each code."""
    mask = task.mask if task.goal != "maximise" else None
    kept = codes if mask is None else codes * mask
    norms = kept.flatten(1).norm(dim=1)
    if not norms.all():
        raise BadInputError(
            f"the selected activations of layer {task.coder.layer.name!r} are all zero, so there is nothing to match; "
            "choose another layer, other channels or another image"
        )
    if task.goal == "invert":
        return Match(kept.repeat_interleave(task.config.restarts, 0), mask), norms
    if task.goal == "caricature":
        kept = kept.clamp_min(0)
        energy = kept.flatten(1).square().sum(1)
        if not energy.all():
            raise BadInputError(
                f"no selected activation of layer {task.coder.layer.name!r} is positive, so there is nothing to "
                "exaggerate; choose another layer, other channels or another image"
            )
        # The inner product with the original's own code is then 1; the view adds axes to (m,) to divide (m, c, h, w).
        kept = kept / energy.view(-1, *[1] * (kept.dim() - 1))
    return InnerProduct(kept.repeat_interleave(task.config.restarts, 0), mask), norms


def starts(task: Task, recipe: Recipe, n_codes: int, images: Tensor | None = None) -> Tensor:
    """Return the start of every restart of every code, codes first: (m * restarts, c, H, W) on the canvas."""
    coder, config = task.coder, task.config
    n_colours, height, width = coder.net.input_shape
    # Jitter crops what the network sees out of a canvas that is larger by `edge` rows and columns.
    edge = task.place.jitter - 1 if recipe.jitters else 0
    shape = (n_colours, height + edge, width + edge)
    if task.goal == "caricature":
        assert images is not None
        levels = coder.colours.to_levels(images)
        # (left, right, top, bottom): half of the edge before, so that `central` finds the image where it was
        whole = torch.nn.functional.pad(levels, (edge // 2, edge - edge // 2) * 2, mode="replicate")
        return whole.repeat_interleave(config.restarts, 0)
    # Every code has the same starts: restart k depends on the seed and on k alone. Here (restarts, c, H, W) repeats as
    # a whole, above each image repeats by itself: either way row i·restarts + k is restart k of code i.
    noise = [_noise(recipe, shape, _generator(config.seed, k, "start")) for k in range(config.restarts)]
    return torch.stack(noise).to(coder.net.device, coder.net.dtype).repeat(n_codes, 1, 1, 1)


def _noise(recipe: Recipe, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if recipe.start == "normal":
        noise = torch.randn(shape, generator=generator)
        return noise * (recipe.spread / noise.square().mean().sqrt())
    noise = torch.rand(shape, generator=generator) * 2 - 1
    # scaled so that 95 % of the magnitudes lie below the recipe's spread
    noise = noise * (recipe.spread / noise.abs().float().flatten().sort().values[int(0.95 * noise.numel())])
    if recipe.start == "natural" and shape[0] == 3:
        return mixed(noise[None], torch.tensor(NATURAL_MIXING))[0]
    return noise


def _generator(seed: int, restart: int, use: Literal["start", "jitter"]) -> torch.Generator:
    """Return the random numbers of one restart, the same however many restarts there are."""
    own = np.random.SeedSequence((seed, restart, _USES.index(use))).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(own >> np.uint64(1)))  # torch takes 63 bits


def _frame_steps(frames: int, steps: int) -> frozenset[int]:
    """Return the steps after which a picture is kept: close together at first, where most changes."""
    # rounding gives some of the first steps more than once
    return frozenset(int(step) for step in np.geomspace(1, steps, frames).round()) if frames else frozenset()


def _reporter(task: Task, recipe: Recipe, progress: Watching) -> Callable[[int, float], None] | None:
    """Return what reports the steps of the descent in the caller's terms."""
    if not callable(progress):
        return None
    say = progress

    def report(done: int, goal: float) -> None:
        if isinstance(say, ErrorProgress):
            say.error(goal**0.5 if task.goal == "invert" else -goal)
        say(task.coder.layer.name, done, recipe.n_steps)

    return report


def _results(
    task: Task, wanted: Search, descent: Descent, images: Tensor | None, norms: Tensor, titles: Sequence[str]
) -> list[Inversion]:
    """Return one result for each of m codes, out of a batch of m * restarts images."""
    # Everything is computed for the whole batch, whose rows i·restarts to (i + 1)·restarts belong to code i.
    whole = _whole_batch(task, wanted, descent)
    own_labels = np.zeros(0, np.int64) if images is None else _labels(task.coder, images, task.answers)
    restarts = task.config.restarts
    found = []
    for i, title in enumerate(titles):
        # of curves (terms, steps, n) and frames (f, n, h, w, 3) the axis n; n is the first axis of all else
        rows = slice(i * restarts, (i + 1) * restarts)
        found.append(
            replace(
                whole,
                title=title,
                images=whole.images[rows],
                pictures=whole.pictures[rows],
                original=_original(task.coder, images, i),
                curves=whole.curves[:, :, rows],
                goals=whole.goals[rows],
                picture_goals=whole.picture_goals[rows],
                norm=float(norms[i]),
                labels=whole.labels[rows],
                label=int(own_labels[i]) if len(own_labels) else None,
                frames=whole.frames[:, rows] if whole.frames.size else whole.frames,
                stopped=_why(descent.stopped[rows]),
            )
        )
    return found


def _whole_batch(task: Task, wanted: Search, descent: Descent) -> Inversion:
    """Return all restarts of all codes as if they were one result, without what belongs to a single code."""
    coder, answers, keeps_frames = task.coder, task.answers, bool(task.config.frames)
    inputs = coder.colours.to_inputs(descent.best)
    with torch.no_grad():
        goals, picture_goals = (
            wanted.objective(coder(levels)).cpu().double().numpy()
            for levels in (descent.best, coder.colours.to_shown(descent.best))
        )
    nothing = np.zeros(0, np.uint8)
    return Inversion(
        config=task.config,
        goal=task.goal,
        model=coder.net.name,
        layer=coder.layer.name,
        title="",
        images=inputs.float().cpu().numpy(),
        pictures=coder.colours.to_pixels(descent.best),
        original=nothing,
        terms=wanted.terms,
        curves=torch.stack(descent.curves, 1).float().cpu().numpy(),  # (terms, steps, n)
        goals=goals,
        norm=0.0,
        spread=task.spread,
        labels=_labels(coder, inputs, answers),
        label=None,
        frames=np.stack([coder.colours.to_pixels(own) for own in descent.frames])
        if keeps_frames
        else nothing,
        frame_steps=np.array(descent.frame_steps if keeps_frames else [], np.int64),
        stopped="finished",
        output=answers.name,
        picture_goals=picture_goals,
    )


def _why(stopped: Sequence[Stopped]) -> Stopped:
    """Return why a search of several restarts ended: the worst reason, but "no improvement" only if all agree."""
    return next((kind for kind in _WORST_FIRST if kind in stopped), stopped[0])


def _labels(coder: Coder, inputs: Tensor, answers: ClassOutput) -> NDArray[np.int64]:
    """Return (n,) the network's answers; (0,) where it does not classify."""
    if answers.output is None:
        return np.zeros(0, np.int64)
    with torch.no_grad():
        scores = coder.net.module(inputs)[answers.output.index]
    labels: NDArray[np.int64] = scores.argmax(1).cpu().numpy()
    return labels


def _original(coder: Coder, images: Tensor | None, i: int) -> NDArray[np.uint8]:
    if images is None:
        return np.zeros(0, np.uint8)
    pixels: NDArray[np.uint8] = coder.colours.to_pixels(coder.colours.to_levels(images[i : i + 1]))[0]
    return pixels
