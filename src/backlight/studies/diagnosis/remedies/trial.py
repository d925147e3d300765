"""Trying remedies: what each changes in what the network finds, in what it costs, and in the finding itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from backlight.errors import BadInputError, RemedyError
from backlight.network import Network
from backlight.network.eager import run_eagerly
from backlight.progress import Watching, shows_progress
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.result import Cost, Trial, TrialConfig, Tried
from backlight.studies.diagnosis.remedies.wiring import unwrapped
from backlight.studies.numbers import plain
from backlight.studies.progress import Count


@dataclass(frozen=True)
class Remedy:
    """A remedy to try.

    Attributes:
        name: Its name.
        apply: Gives the new model, or raises a `RemedyError`.
        measure: Gives the finding's own measure of a model, NaN where it has none; None if there is no measure.
    """

    name: str
    apply: Callable[[], Remedied]
    measure: Callable[[nn.Module], float] | None = None


@shows_progress
def try_remedies(
    model: nn.Module,
    net: Network,
    remedies: Sequence[Remedy],
    images: Tensor,
    labels: Sequence[int] | Tensor | None = None,
    config: TrialConfig | None = None,
    *,
    progress: Watching = None,
) -> tuple[Trial, dict[str, nn.Module]]:
    """Return what remedies change, and by name the new models of those that could be applied.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        remedies: What is tried, each on the model as it is.
        images: (n, c, h, w) inputs, which the choice of what to change should not have been made on.
        labels: Their classes; without them it is measured how often the new network finds what the old one does.
        config: How they are tried.
        progress: True shows bars; a function is called with the study's name, how many networks are measured, and how
            many there are.

    Raises:
        BadInputError: There are no images, not as many labels, two remedies of one name, or no output gives a class.

    Example:
        >>> import backlight
        >>> from backlight.studies.diagnosis.remedies import delete_maps
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
        >>> _ = model[0].weight.data[2].zero_(), model[0].bias.data[2].zero_()
        >>> net = backlight.capture(model, (3, 8, 8))
        >>> dead = Remedy("prune", lambda: delete_maps(model, net, "1", [2]))
        >>> found, models = try_remedies(model, net, [dead], torch.ones(6, 3, 8, 8), config=TrialConfig(rounds=0))
        >>> print(found.lines()[0].partition(" (")[0])
        prune: 1 of 4 maps of '1' deleted: 100.0 % of the answers stay
    """
    config = config or TrialConfig()
    names = [own.name for own in remedies]
    if len(set(names)) < len(names):
        raise BadInputError("two remedies have the same name; give each its own")
    if not len(images):
        raise BadInputError("no images are given; remedies are measured on some")
    batch = net.prepare(images)
    if labels is not None and len(labels) != len(batch):
        raise BadInputError(
            f"a label for each image is needed, got {len(batch)} images and {len(labels)} labels"
        )
    count = Count(progress, "remedies", 1 + len(remedies))
    inner = unwrapped(model, net)
    before = classes_of(inner, net, batch, config.batch)
    count.add()
    tried, models, after = [], dict[str, nn.Module](), np.full((len(remedies), len(batch)), -1)
    for i, own in enumerate(remedies):
        try:
            found = own.apply()
        except RemedyError as error:
            tried.append(Tried(own.name, str(error), False))
        else:
            after[i] = classes_of(found.model, net, batch, config.batch)
            cost = cost_of(found.model, batch)
            measure = None if own.measure is None else plain(float(own.measure(found.model)))
            tried.append(Tried(own.name, found.done, True, found.notes, cost, measure))
            models[own.name] = found.model
        count.add()
    times = _timed(inner, models, batch[: config.timed], config.rounds)
    tried = [replace(own, cost=_with_time(own.cost, times.get(own.remedy))) for own in tried]
    measured = {own.measure: plain(float(own.measure(inner))) for own in remedies if own.measure is not None}
    return (
        Trial(
            config=config,
            network=net.name,
            has_labels=labels is not None,
            cost=replace(cost_of(inner, batch), ms=times.get(None)),
            measures=tuple(None if own.measure is None else measured[own.measure] for own in remedies),
            tried=tuple(tried),
            labels=before if labels is None else np.asarray(labels, np.int64),
            before=before,
            after=after,
        ),
        models,
    )


def classes_of(model: nn.Module, net: Network, images: Tensor, batch: int = 50) -> NDArray[np.int64]:
    """Return the class that a model finds in each image (n,).

    Args:
        model: The captured model, or one that returns what it does.
        net: The captured network, which knows the output that gives the class.
        images: (n, c, h, w) inputs.
        batch: How many are run at once.

    Raises:
        BadInputError: No output gives a class.
    """
    output = net.class_output().output
    if output is None:
        raise BadInputError(f"{net.name} does not classify, so it cannot be told whether its answers stay")
    found = [
        tree_leaves(run_eagerly(model, own))[output.index].argmax(1).cpu()
        for own in torch.split(images, batch)
    ]
    classes: NDArray[np.int64] = torch.cat(found).numpy()
    return classes


def cost_of(model: nn.Module, images: Tensor) -> Cost:
    """Return what a model costs for one image, untimed.

    *Convention*: FLOPs are those that torch counts: two for each multiplication with its sum, in convolutions, matrix
    products and attention; nothing for batch norms, rectifiers and pools.
    """
    with FlopCounterMode(display=False) as counter:
        run_eagerly(model, images[:1])
    return Cost(counter.get_total_flops(), sum(own.numel() for own in model.parameters()), None)


def _with_time(cost: Cost | None, ms: float | None) -> Cost | None:
    return None if cost is None else replace(cost, ms=ms)


def _timed(
    model: nn.Module, models: dict[str, nn.Module], images: Tensor, rounds: int
) -> dict[str | None, float]:
    """Return the median milliseconds per image of the old model (None) and of the new ones, timed in turns."""
    every = dict[str | None, nn.Module]([(None, model), *models.items()])
    taken: dict[str | None, list[float]] = {name: [] for name in every}
    for i in range(rounds + 1 if rounds else 0):
        for name, own in every.items():
            start = time.perf_counter()
            run_eagerly(own, images)
            if images.is_cuda:
                torch.cuda.synchronize(images.device)
            if i:  # the first round is a warm-up
                taken[name].append(1000 * (time.perf_counter() - start) / len(images))
    return {name: median(own) for name, own in taken.items() if own}
