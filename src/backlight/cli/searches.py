"""The searches of `backlight invert`: one after the other, each kept as soon as it is found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from rich.text import Text
from torch import Tensor

from backlight.cli.flags import Goal
from backlight.cli.output import console, print_skipped, say, styled
from backlight.cli.writing import write_figure
from backlight.errors import BadInputError
from backlight.images import Skipped, load_batches, load_numbers, open_images
from backlight.inversion import (
    MOST_PHOTOGRAPHS,
    Inversion,
    InversionConfig,
    animate,
    caricature,
    equal_restarts,
    figure,
    lost,
    maximise,
)
from backlight.inversion import invert as invert_code
from backlight.network import Layer, Network
from backlight.progress.bars import Report
from backlight.projection import Unit
from backlight.render.page import evenly_spread

_N_LAYERS = 8

Given: TypeAlias = Path | NDArray[np.generic] | None
"""A picture, activations, or nothing."""


class SearchTask(NamedTuple):
    """One search: for a layer, or for one feature map of it."""

    layer: str
    channel: int | None

    @property
    def name(self) -> str:
        """What its progress and its files are called."""
        return self.layer if self.channel is None else f"{self.layer}-{self.channel}"


@dataclass(frozen=True, eq=False)
class Searches:
    """What all searches of a command have in common.

    Attributes:
        net: The captured network.
        goal: What is searched for.
        given: Where the activations to match come from.
        config: How to search.
        photographs: Inputs (n, c, h, w) whose distances normalise the error.
    """

    net: Network
    goal: Goal
    given: Given
    config: InversionConfig
    photographs: Tensor | None

    def run(
        self, tasks: Sequence[SearchTask], report: Report, results: list[Inversion], save: Path | None
    ) -> bool:
        """Add what is found to results, each saved as soon as it is there; return whether Ctrl-C ended it."""
        try:
            for task in tasks:
                found = self._search(task, report)
                results.append(found)
                n_steps = found.curves.shape[1]
                report(task.name, n_steps, n_steps)  # a search that ended early is done
                if save is not None:
                    found.save(f"{save}-{task.name}")
                if found.stopped == "interrupted":
                    return True
        except KeyboardInterrupt:  # between two searches
            if not results:
                raise
            return True
        return False

    def _search(self, task: SearchTask, report: Report) -> Inversion:
        progress = _Reported(report, task.name, self.goal)
        if task.channel is not None:
            config = replace(self.config, channels=None)
            return maximise(self.net, Unit(task.layer, task.channel), config, progress=progress)
        assert self.given is not None
        if self.goal == "caricature":
            return caricature(self.net, _as_image(self.given), task.layer, self.config, progress)
        return invert_code(self.net, self.given, task.layer, self.config, self.photographs, progress)


def write_inversions(results: list[Inversion], output: Path, animation: Path | None) -> None:
    """Say what was found, and write the figure and the animation."""
    for result in results:
        console.print(_summary(result), soft_wrap=True)
    picture = figure(results)
    write_figure(picture, output)
    say("{} ({}x{})", output, picture.width, picture.height)
    if animation is not None:
        animate(results, animation)
        say("{}", animation)


def spread_layers(net: Network, config: InversionConfig, has_activations: bool) -> list[str]:
    """Return up to 8 of the default layers, first to last, and the output; of those that have what is to be matched.

    Raises:
        BadInputError: Activations are given, and they belong to one layer.
    """
    if has_activations:
        raise BadInputError("activations belong to one layer; name it with --layers")
    output = (net.leading_to(net.class_output(config.output).output) or net.layers)[-1]
    fitting = [layer.name for layer in (*net.default_layers, output) if _has_part(layer, config)]
    *names, last = fitting or [output.name]
    chosen = evenly_spread(names, _N_LAYERS - 1)
    return list(dict.fromkeys([*chosen, last]))


def read_given(image: Path | None) -> Given:
    """Return activations from their file, and the path of a picture as it is.

    Raises:
        BadInputError: The file of activations holds none.
    """
    if image is None or image.suffix != ".npy":
        return image
    found: NDArray[np.generic] = load_numbers(image)
    return found


def read_photographs(folder: str | None, net: Network) -> Tensor | None:
    """Return as many photographs that can be read as count, or a few more, as inputs, and say which could not be.

    Raises:
        BadInputError: Fewer than two can be read.
    """
    if folder is None:
        return None
    source = open_images(folder)
    assert net.preprocessing is not None  # the command line gives every network one
    read: list[Tensor] = []
    skipped: list[Skipped] = []
    with closing(
        load_batches(source, net.preprocessing, range(len(source.records)), batch_size=10)
    ) as batches:
        for batch in batches:
            read.append(batch.tensor)
            skipped += batch.skipped
            if sum(map(len, read)) >= MOST_PHOTOGRAPHS:
                break
    print_skipped(skipped)
    found = torch.cat(read)
    if len(found) < 2:
        raise BadInputError(
            f"--photographs needs at least 2 pictures that can be read, but {folder!r} has {len(found)}"
        )
    return found


@dataclass
class _Reported:
    """A search's progress, shown with the error so far."""

    report: Report
    name: str
    goal: Goal
    note: str = ""

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.report(self.name, done, total, self.note)

    def error(self, value: float) -> None:
        self.note = f"error {value:.1%}" if self.goal == "invert" else f"product {value:.3g}"


def _as_image(given: Path | NDArray[np.generic]) -> Path:
    if isinstance(given, Path):
        return given
    raise BadInputError("a caricature is made of a picture, got activations (.npy)")


def _has_part(layer: Layer, config: InversionConfig) -> bool:
    """Return whether a layer has the channels and the central units that are to be matched."""
    side = min(layer.shape[1:]) if layer.is_spatial else 0
    return max(config.channels or (0,)) < layer.n_maps and (config.centre is None or config.centre <= side)


def _summary(result: Inversion) -> Text:
    what = f", {result.title}" if result.goal == "maximise" else ""
    return styled("[bold]{}[/]{}: {}", result.layer, what, _found(result))


def _found(result: Inversion) -> str:
    steps = f"{result.curves.shape[1]} steps, {result.stopped}"
    if result.goal != "invert":
        product = -result.shown_goals[result.best]
        silent = "" if product > 0 else "; it stays silent: try more --restarts, or the layer before"
        return f"inner product {product:.4g} ({steps}){silent}"
    best, shown = result.best, result.shown
    text = f"relative error {shown.relative_errors[best]:.1%}"
    if shown.normalised_errors is not None and shown.squared_errors is not None:
        text += (
            f", normalised {shown.normalised_errors[best]:.1%}, squared form {shown.squared_errors[best]:.1%}"
        )
    text += f" (before rounding to 8 bits {result.relative_errors[best]:.1%})"
    same = result.same_label
    answer = "" if same is None else f"; {'the same' if same[best] else 'another'} answer"
    return f"{text}{answer}{_differing(result)} ({steps})"


def _differing(result: Inversion) -> str:
    """Return how much restarts of equal error differ; nothing where fewer than two have it."""
    n_equal = len(equal_restarts(result))
    return f"; {n_equal} restarts differ by {lost(result).level:.0f} grey levels" if n_equal > 1 else ""
