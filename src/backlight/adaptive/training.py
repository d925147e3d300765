"""A training in progress: filters, the codes of the whole set, and how far it is, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.adaptive.config import AdaptiveConfig, LayerConfig, Learning
from backlight.adaptive.inference import LayerCode, refit, settle, step
from backlight.adaptive.learning import (
    CodedBatch,
    EpochMeasure,
    LayerMeasure,
    conjugate_gradient,
    growing_weight,
    normal_product,
    of_unit_length,
    sparse_weight,
    start_filters,
    steps_of,
    with_margin,
)
from backlight.adaptive.operators import Reconstruction, filter_gradient
from backlight.adaptive.pooling import Unpooling
from backlight.adaptive.shelf import Shelf
from backlight.errors import BadInputError
from backlight.progress import Watching, as_progress, shows_progress

_SAMPLE_POWER_STEPS = 12


@runtime_checkable
class LearningProgress(Protocol):
    """A `progress` that also wants the measure of each epoch."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show that this much of a phase is done."""

    def measured(self, measure: EpochMeasure) -> None:
        """Take the measure of an epoch; of a training that resumes, first that of the last epoch done."""


def _tell(progress: Watching, measure: EpochMeasure) -> None:
    if isinstance(progress, LearningProgress):
        progress.measured(measure)


def _squared_error(images: Tensor, code: LayerCode, whole: Reconstruction) -> float:
    """Return ‖R z - y‖² over all images of a batch."""
    return float((images - whole(code.maps)).double().square().sum())


class _EpochCount:
    """Reports the images that one epoch of a layer has gone over."""

    def __init__(self, progress: Watching, phase: str, per_epoch: int, epoch: int, epochs: int) -> None:
        self._progress, self._phase = as_progress(progress), phase
        self._done, self._end, self._total = epoch * per_epoch, (epoch + 1) * per_epoch, epochs * per_epoch

    def over(self, parts: Iterator[CodedBatch]) -> Iterator[CodedBatch]:
        """Yield the same batches, and report each when it is done."""
        for part in parts:
            yield part
            self._report(self._done + len(part.images))

    def finish(self) -> None:
        """Report the end of the epoch, which comes early if the filters are solved or all codes are zero."""
        if self._done < self._end:
            self._report(self._end)

    def _report(self, done: int) -> None:
        self._done = done
        self._progress(self._phase, done, self._total)


@dataclass(frozen=True, eq=False)
class TrainingState:
    """How far a training is, as a checkpoint keeps it.

    Attributes:
        filters: Of the layers learned, and of the one being learned.
        squared_norms: ‖R‖² of each of them.
        history: A measure of each epoch.
        layer: The layer being learned, from 1; one more than there are when all is done.
        epoch: Number of its epochs that are done.
        pooled: (n, groups, rows, cols) the codes of that layer.
        switches: Of each layer up to that one, (n, groups, rows, cols), uint8.
        measures: Of each layer that is learned; a checkpoint of an older version lacks them.
    """

    filters: list[Tensor]
    squared_norms: list[float]
    history: list[EpochMeasure]
    layer: int
    epoch: int
    pooled: NDArray[np.float32]
    switches: list[NDArray[np.uint8]]
    measures: list[LayerMeasure] = field(default_factory=list)


class Training:
    """Learns the filters of a network on a set of images.

    Args:
        config: The network.
        learning: How to learn.
        images: (n, c, h, w) float32, prepared; the array may lie in a file.
        state: Where to resume; None to begin.
        device: Where to compute.

    Raises:
        BadInputError: Images with values that are not finite.
    """

    def __init__(
        self,
        config: AdaptiveConfig,
        learning: Learning,
        images: NDArray[np.float32],
        state: TrainingState | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.config, self.learning, self.images = config, learning, images
        self.device = device or torch.device("cpu")
        size = (images.shape[2], images.shape[3])
        self._shapes, self._pooled_shapes = config.shapes(size), config.pooled_shapes(size)
        held = 0 if isinstance(images, np.memmap) else images.nbytes
        self._shelf = Shelf(max(learning.memory_bytes - held, 0))
        # ‖y‖² of the whole set, image by image, since the array may be larger than the memory
        self._energy = float(np.sum([np.square(own, dtype=np.float64).sum() for own in images]))
        if not np.isfinite(self._energy):
            raise BadInputError("the images hold NaN or infinite values; look at how they were made")
        if state is None:
            empty: NDArray[np.float32] = np.zeros(0, np.float32)
            state = TrainingState([], [], [], 1, 0, empty, [])
        self.filters = [own.to(self.device) for own in state.filters]
        self.squared_norms, self.history = list(state.squared_norms), list(state.history)
        self.measures = list(state.measures)
        self.layer, self.epoch = state.layer, state.epoch
        # Of the whole set only the values of the layer being learned are held, and the switches of all layers so far:
        # R needs no more, since the values of the layers below follow from it.
        self._pooled = self._placed(state.pooled)
        self._switches = [self._placed(own) for own in state.switches]

    @property
    def state(self) -> TrainingState:
        """How far it is; arrays are not copied."""
        filters = [own.cpu() for own in self.filters]
        norms, history, measures = list(self.squared_norms), list(self.history), list(self.measures)
        switches = list(self._switches)
        return TrainingState(
            filters, norms, history, self.layer, self.epoch, self._pooled, switches, measures
        )

    @shows_progress
    def run(
        self, progress: Watching = None, keep: Callable[[TrainingState], None] | None = None
    ) -> list[EpochMeasure]:
        """Learn what is left, and return the measures of all epochs.

        Args:
            progress: True shows bars; a function is called after each batch; a `LearningProgress` also gets the
                measure of each epoch.
            keep: Called with the state after each epoch and each layer.
        """
        if self.history:
            _tell(progress, self.history[-1])
        while self.layer <= len(self.config.layers):
            if self.epoch == 0:  # a layer that a checkpoint was in the middle of has begun
                self._begin_layer()
            while self.epoch < self.learning.epochs:
                self.run_epoch(progress)
                if keep is not None:
                    keep(self.state)
            self.end_layer(progress)
            if keep is not None:
                keep(self.state)
        return list(self.history)

    def _begin_layer(self) -> None:
        if len(self.filters) < self.layer:
            self.filters.append(self._start_filters())
            self.squared_norms.append(0.0)
            shape = (len(self.images), *self._pooled_shapes[self.layer - 1])  # (n, groups, rows, cols)
            # of the layer below only the switches are needed from now on, not the values
            self._shelf.give_back(self._pooled)
            self._pooled = self._shelf.room(shape, np.float32)
            self._switches.append(self._shelf.room(shape, np.uint8))

    def _start_filters(self) -> Tensor:
        seed = np.random.SeedSequence((self.learning.seed, self.layer)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed >> np.uint64(1)))  # torch takes 63 bits
        return start_filters(self.config, self.layer, generator).to(self.device)

    def _weighted(self) -> LayerConfig:
        """Return the layer with this epoch's λ; the first λ needs the start filters alone, so it survives a stop."""
        own = self.config.layers[self.layer - 1]
        if self.learning.first_share == 1:
            return own
        part = self._part(0, min(self.learning.sample, len(self.images)))
        whole = Reconstruction((*self.filters[: self.layer - 1], self._start_filters()), part.below)
        first = sparse_weight(part.images, whole, own.block, self.learning.first_share)
        return replace(own, weight=growing_weight(first, own.weight, self.epoch, self.learning.epochs))

    def run_epoch(self, progress: Watching) -> None:
        """Move every code one step, then update the filters."""
        # One pass over the images for the codes, one for each conjugate-gradient step.
        per_epoch = (1 + self.learning.cg_steps) * len(self.images)
        count = _EpochCount(progress, f"layer {self.layer}", per_epoch, self.epoch, self.learning.epochs)
        gradient, measure = self._step_codes(count)
        self.history.append(measure)
        _tell(progress, measure)
        product = normal_product(lambda: count.over(self._parts()), tuple(self.filters))
        found = conjugate_gradient(product, self.filters[-1], gradient, self.learning.cg_steps)
        self.filters[-1] = of_unit_length(found, self.config.unit)
        count.finish()
        self.epoch += 1

    def _step_codes(self, count: _EpochCount) -> tuple[Tensor, EpochMeasure]:
        """Move every code one step, and return how the remaining error changes with the filters, (k, c, side, side).

        With rest = y - R z, that is the residual of the normal equations, from which the conjugate gradient starts.
        """
        filters, side = tuple(self.filters), self.filters[-1].shape[2]
        self.squared_norms[-1] = self._estimate_norm()
        how = steps_of(self._weighted(), self.squared_norms[-1])
        # What follows sums over the images: R z is linear in the filters, with the same adjoint as in `normal_product`.
        gradient = torch.zeros_like(filters[-1])
        # sums over the whole set, in float64 where float32 would lose digits
        squares, active = 0.0, 0.0
        for start, part in zip(self._starts(), count.over(self._parts()), strict=True):
            whole = Reconstruction(filters, part.below)
            # in the first epoch every code is zero, and R of it need not be computed
            code = step(part.images, part.code.maps if self.epoch else None, whole, how)
            self._put(start, code)
            z = code.maps  # (n, k, h, w)
            rest = part.images - whole(z)  # (n, c, h, w)
            squares += float(rest.double().square().sum())
            active += float(code.active_share.double().sum())
            gradient += filter_gradient(whole.ascend(rest), z, side)
        active_share = active / len(self.images)
        return gradient, EpochMeasure(self.layer, self.epoch + 1, self._error(squares), active_share)

    def _error(self, squares: float) -> float:
        return (squares / self._energy) ** 0.5 if self._energy else 0.0

    def end_layer(self, progress: Watching) -> None:
        """Infer the codes again with the final filters, measure them, and move on to the next layer."""
        self.squared_norms[-1] = self._estimate_norm()
        how = steps_of(self.config.layers[self.layer - 1], self.squared_norms[-1])
        filters = tuple(self.filters)
        # sums over the whole set, in float64: squared errors of refitted and of shrunk values, and shares
        squares, shrunk, active = 0.0, 0.0, 0.0
        # From zero, as inference will do it: the next layer then learns on the switches that it will meet.
        for start, part in zip(self._starts(), self._parts(), strict=True):
            whole = Reconstruction(filters, part.below)
            code = settle(part.images, whole, how, self.config.steps)
            self._put(start, code)
            squares += _squared_error(part.images, refit(part.images, code, whole), whole)
            shrunk += _squared_error(part.images, code, whole)
            active += float(code.active_share.double().sum())
            as_progress(progress)(f"codes {self.layer}", start + len(part.images), len(self.images))
        errors, active_share = (self._error(squares), self._error(shrunk)), active / len(self.images)
        self.measures.append(LayerMeasure(self.layer, *errors, active_share))
        self.layer, self.epoch = self.layer + 1, 0

    def _estimate_norm(self) -> float:
        """Return a little more than the largest ‖R‖² of the first images."""
        largest, count = 0.0, min(self.learning.sample, len(self.images))
        shape, block = self._shapes[self.layer - 1], self.config.layers[self.layer - 1].block
        # the same noise in every epoch, and after a stop
        generator = torch.Generator().manual_seed(self.layer)
        for start in range(0, count, self.learning.batch):
            part = self._part(start, min(start + self.learning.batch, count))
            # (n, k, h, w), drawn one image at a time, so that the batch size does not change the noise
            noise = torch.stack([torch.randn(shape, generator=generator) for _ in part.images])
            whole = Reconstruction(tuple(self.filters), part.below)
            norms, _ = whole.squared_norm(noise.to(self.device), _SAMPLE_POWER_STEPS, block)
            largest = max(largest, float(norms.max()))
        return with_margin(largest)

    def _starts(self) -> range:
        return range(0, len(self.images), self.learning.batch)

    def _parts(self) -> Iterator[CodedBatch]:
        for start in self._starts():
            yield self._part(start, min(start + self.learning.batch, len(self.images)))

    def _part(self, start: int, stop: int) -> CodedBatch:
        own = slice(start, stop)
        switches = [self._tensor(array[own]) for array in self._switches]
        blocks = [layer.block for layer in self.config.layers]
        # Not strict: of the layers, only those with switches so far. The last of them is the one being learned.
        below = [Unpooling(*three) for three in zip(switches, blocks, self._shapes, strict=False)]
        code = LayerCode(self._tensor(self._pooled[own]), switches[-1], below[-1].block, below[-1].shape)
        # R of the layer being learned needs the switches below it only; its own are in its code.
        return CodedBatch(self._tensor(self.images[own]), tuple(below[: self.layer - 1]), code)

    def _put(self, start: int, code: LayerCode) -> None:
        own = slice(start, start + len(code.pooled))
        self._pooled[own] = code.pooled.cpu().numpy()
        self._switches[-1][own] = code.switches.cpu().numpy()

    def _tensor(self, rows: NDArray[Any]) -> Tensor:
        # A copy: from_numpy shares memory, and a step that works in place would write into the shelf.
        return torch.from_numpy(np.array(rows)).to(self.device)

    def _placed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of a checkpoint on the shelf."""
        room = self._shelf.room(array.shape, array.dtype.type)
        room[...] = array
        return room
