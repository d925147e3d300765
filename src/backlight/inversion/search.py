"""A search from beginning to end: what is to be found, from what starts, and what has come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import BadInputError
from backlight.inversion.codes import Coder
from backlight.inversion.descent import Descent, Search, Stopped, descend
from backlight.inversion.measures import Spread
from backlight.inversion.objectives import InnerProduct, Match, Objective
from backlight.inversion.recipes import Place, Recipe, place_of, recipe_for
from backlight.inversion.result import Config, Goal, Inversion
from backlight.network.class_output import ClassOutput

Watch = Callable[[str, int, int, float], None]
"""Told the layer, how many steps are done and of how many, and the error (or the objective) of the best so far."""

_MAXIMISED_AREA = 10_000.0
_USES = ("start", "jitter")
_WORST_FIRST: tuple[Stopped, ...] = ("interrupted", "diverged", "finished")


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be found in one layer.

    Attributes:
        coder: Runs the layer.
        goal: Of the search.
        config: How it is searched for.
        spread: How far photographs lie apart in this layer, if that is known.
    """

    coder: Coder
    goal: Goal
    config: Config
    spread: Spread | None = None

    @property
    def place(self) -> Place:
        """What the recipe has to know of the layer."""
        return place_of(self.coder.net, self.coder.layer)

    @property
    def recipe(self) -> Recipe:
        """The recipe, its objective weighed as the goal asks."""
        place = self.place
        recipe = recipe_for(self.config.recipe, place, self.config.strength, self.goal == "invert")
        given = self.config.strength is not None and recipe.strength_of == "objective"
        if self.goal == "maximise" and not given:
            return replace(recipe, weight=_MAXIMISED_AREA / (place.field * max(place.shape[1:])) ** 2)
        return recipe

    @property
    def answers(self) -> ClassOutput:
        """The output that the network's answers are read from."""
        return self.coder.net.class_output(self.config.output)

    @property
    def mask(self) -> Tensor | None:
        """What counts of a code; None for all of it."""
        return self.coder.mask(self.config.channels, self.config.box, self.config.centre)


def search(
    task: Task, codes: Tensor, images: Tensor | None, titles: Sequence[str], watch: Watch | None
) -> list[Inversion]:
    """Return what all restarts of all codes have found, in one batch; one result for each code.

    Args:
        task: The layer and the goal.
        codes: (m, c, h, w) or (m, c) what is sought.
        images: (m, c, h, w) the inputs that these are the codes of; None for codes without.
        titles: (m,) what each is called.
        watch: Told of each step.

    Raises:
        BadInputError: A code is zero, or for a caricature not positive, wherever it counts; the network has no such
            output.
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
    generators = [_generator(config.seed, k, "jitter") for _ in codes for k in range(config.restarts)]
    begin = starts(task, recipe, len(codes), images)
    descent = descend(wanted, begin, generators, _told(task, recipe, watch))
    try:
        return _results(task, wanted, descent, images, norms, titles)
    except KeyboardInterrupt:  # what took minutes is worth half a second more; a second one is obeyed
        descent.stopped = ["interrupted"] * len(begin)
        return _results(task, wanted, descent, images, norms, titles)


def _objective(task: Task, codes: Tensor) -> tuple[Objective, Tensor]:
    """Return the objective of all restarts of all codes, and the length of what counts of each code."""
    mask = task.mask if task.goal != "maximise" else None
    kept = codes if mask is None else codes * mask
    norms = kept.flatten(1).norm(dim=1)
    if not norms.all():
        raise BadInputError(
            f"the code of layer {task.coder.layer.name!r} is all zeros where it counts: any image without it would do; "
            "choose another layer, other channels or another image"
        )
    if task.goal == "invert":
        return Match(kept.repeat_interleave(task.config.restarts, 0), mask), norms
    if task.goal == "caricature":
        kept = kept.clamp_min(0)
        energy = kept.flatten(1).square().sum(1)
        if not energy.all():
            raise BadInputError(
                f"the code of layer {task.coder.layer.name!r} has nothing positive that counts, to exaggerate"
            )
        kept = kept / energy.view(-1, *[1] * (kept.dim() - 1))
    return InnerProduct(kept.repeat_interleave(task.config.restarts, 0), mask), norms


def starts(task: Task, recipe: Recipe, n_codes: int, images: Tensor | None = None) -> Tensor:
    """Return where the search of every restart of every code begins, codes first, on the canvas."""
    coder, config = task.coder, task.config
    n_colours, height, width = coder.net.input_shape
    edge = task.place.jitter - 1 if recipe.jitters else 0
    shape = (n_colours, height + edge, width + edge)
    if task.goal == "caricature":
        assert images is not None
        levels = coder.colours.to_levels(images)
        whole = torch.nn.functional.pad(levels, (edge // 2, edge - edge // 2) * 2, mode="replicate")
        return whole.repeat_interleave(config.restarts, 0)
    noise = [_noise(recipe, shape, _generator(config.seed, k, "start")) for k in range(config.restarts)]
    return torch.stack(noise).to(coder.net.device, coder.net.dtype).repeat(n_codes, 1, 1, 1)


def _noise(recipe: Recipe, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if recipe.start == "normal":
        noise = torch.randn(shape, generator=generator)
        return noise * (recipe.spread / noise.square().mean().sqrt())
    noise = torch.rand(shape, generator=generator) * 2 - 1
    return noise * (recipe.spread / noise.abs().float().flatten().sort().values[int(0.95 * noise.numel())])


def _generator(seed: int, restart: int, use: Literal["start", "jitter"]) -> torch.Generator:
    """Return the source of chance of one restart, the same however many there are."""
    own = np.random.SeedSequence((seed, restart, _USES.index(use))).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(own >> np.uint64(1)))


def _frame_steps(frames: int, steps: int) -> frozenset[int]:
    """Return after which steps a picture is kept: close together early on, where most changes."""
    return frozenset(int(step) for step in np.geomspace(1, steps, frames).round()) if frames else frozenset()


def _told(task: Task, recipe: Recipe, watch: Watch | None) -> Callable[[int, float], None] | None:
    if watch is None:
        return None

    def tell(done: int, goal: float) -> None:
        assert watch is not None
        watch(task.coder.layer.name, done, recipe.n_steps, goal**0.5 if task.goal == "invert" else -goal)

    return tell


def _results(
    task: Task, wanted: Search, descent: Descent, images: Tensor | None, norms: Tensor, titles: Sequence[str]
) -> list[Inversion]:
    coder, restarts = task.coder, task.config.restarts
    inputs = coder.colours.to_inputs(descent.best)
    with torch.no_grad():
        goals = wanted.objective(coder(descent.best)).cpu().double().numpy()
    curves = torch.stack(descent.curves, 1).float().cpu().numpy()
    frames = (
        np.stack([coder.colours.to_pixels(own) for own in descent.frames]) if task.config.frames else None
    )
    answers = task.answers
    labels = _labels(coder, inputs, answers)
    own_labels = None if images is None else _labels(coder, images, answers)
    found = []
    for i, title in enumerate(titles):
        part = slice(i * restarts, (i + 1) * restarts)
        found.append(
            Inversion(
                config=task.config,
                goal=task.goal,
                model=coder.net.name,
                layer=coder.layer.name,
                title=title,
                images=inputs[part].float().cpu().numpy(),
                pictures=coder.colours.to_pixels(descent.best[part]),
                original=_original(coder, images, i),
                terms=wanted.terms,
                curves=curves[:, :, part],
                goals=goals[part],
                norm=float(norms[i]),
                spread=task.spread,
                labels=labels[part],
                label=int(own_labels[i]) if own_labels is not None and len(own_labels) else None,
                frames=np.zeros(0, np.uint8) if frames is None else frames[:, part],
                frame_steps=np.array(descent.frame_steps if frames is not None else [], np.int64),
                stopped=_why(descent.stopped[part]),
                output=answers.name,
            )
        )
    return found


def _why(stopped: Sequence[Stopped]) -> Stopped:
    """Return why a search of several restarts ended: the worst of them, but "no improvement" only if it is of all."""
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
