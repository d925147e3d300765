"""Training: it resumes after a stop as if there had been none; what does not fit into memory lies in files."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backlight.adaptive import AdaptiveConfig, AdaptiveDeconvNet, Block, EpochMeasure, LayerConfig, Learning
from backlight.adaptive.files import TrainingOrigin, read_training, write_training
from backlight.adaptive.training import Training, TrainingState
from backlight.errors import BadInputError
from replicas.compare import same, same_bits

CONFIG = AdaptiveConfig(
    (
        LayerConfig(3, filter=3, block=Block(2, 2, 2), weight=3.0),
        LayerConfig(2, filter=3, block=Block(2, 2), weight=1.0),
    ),
    size=(10, 9),
    contrast=None,
    steps=3,
)

LEARNING = Learning(epochs=3, batch=2, sample=1)
IMAGES = np.random.default_rng(0).standard_normal((5, 1, 10, 9)).astype(np.float32)
N_KEPT = 8  # after each of 3 epochs and at the end, of 2 layers


class StopError(Exception):
    pass


def blobs(n: int = 12, seed: int = 0) -> Tensor:
    """Return smooth images: easy to learn."""
    noise = torch.randn(n, 1, 10, 9, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, 1, 1) * 3


@cache
def learned(learning: Learning = LEARNING) -> tuple[list[Tensor], list[EpochMeasure]]:
    training = Training(CONFIG, learning, IMAGES)
    training.run()
    return training.filters, training.history


def same_training(
    filters: list[Tensor], history: list[EpochMeasure], other: tuple[list[Tensor], list[EpochMeasure]]
) -> None:
    assert len(filters) == len(other[0])
    for own, expected in zip(filters, other[0], strict=True):
        same_bits(own, expected)
    assert history == other[1]


@pytest.mark.parametrize("stop", range(1, N_KEPT + 1))
def test_a_training_stopped_after_any_epoch_goes_on_as_if_it_had_not_been(stop: int) -> None:
    kept: list[TrainingState] = []

    def keep(state: TrainingState) -> None:
        kept.append(deepcopy(state))
        if len(kept) == stop:
            raise StopError("here")

    with pytest.raises(StopError, match="here"):
        Training(CONFIG, LEARNING, IMAGES).run(keep=keep)
    again = Training(CONFIG, LEARNING, IMAGES, kept[-1])
    history = again.run()
    same_training(again.filters, history, learned())


@pytest.mark.parametrize("stop", range(1, N_KEPT + 1))
def test_the_same_through_a_file(stop: int, tmp_path: Path) -> None:
    origin, path, count = TrainingOrigin(CONFIG, LEARNING, "these"), tmp_path / "a.adn.part", 0

    def keep(state: TrainingState) -> None:
        nonlocal count
        write_training(state, origin, path)
        count += 1
        if count == stop:
            raise StopError("here")

    with pytest.raises(StopError, match="here"):
        Training(CONFIG, LEARNING, IMAGES).run(keep=keep)
    again = Training(CONFIG, LEARNING, IMAGES, read_training(path, origin))
    history = again.run()
    same_training(again.filters, history, learned())
    assert [own.name for own in tmp_path.iterdir()] == ["a.adn.part"]


@pytest.mark.parametrize("call", [1, 9, 10, 29, 45, 60])
def test_a_fit_stopped_amid_an_epoch_goes_on_from_the_last_whole_one(call: int, tmp_path: Path) -> None:
    calls = 0

    def progress(phase: str, done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise StopError("here")

    part = tmp_path / "a.adn.part"
    with pytest.raises(StopError, match="here"):
        AdaptiveDeconvNet(CONFIG).fit(IMAGES, LEARNING, progress, part)
    assert part.exists() == (
        call > 9
    )  # an epoch has 3 passes of 3 batches; at the end of a layer comes a pass over its codes
    net = AdaptiveDeconvNet(CONFIG)
    history = net.fit(IMAGES, LEARNING, checkpoint=part)
    same_training(list(net.filters), history, learned())
    assert net.fit(IMAGES, LEARNING, checkpoint=part) == history  # all is done: nothing is learned anew


def test_progress_reaches_its_total_and_never_goes_back() -> None:
    told: list[tuple[str, int, int]] = []

    def progress(phase: str, done: int, total: int) -> None:
        told.append((phase, done, total))

    Training(CONFIG, LEARNING, IMAGES).run(progress)
    assert list(dict.fromkeys(phase for phase, *_ in told)) == ["layer 1", "codes 1", "layer 2", "codes 2"]
    for name, expected in (("layer 1", 45), ("codes 1", 5), ("layer 2", 45), ("codes 2", 5)):
        own = [done for phase, done, _ in told if phase == name]
        assert own == sorted(set(own))
        assert {total for phase, _, total in told if phase == name} == {own[-1]} == {expected}


class Watch:
    """Records measures and steps in order."""

    def __init__(self) -> None:
        self.seen: list[EpochMeasure | str] = []

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Take a step."""
        self.seen.append(phase)

    def measured(self, measure: EpochMeasure) -> None:
        """Take a measure."""
        self.seen.append(measure)


def test_each_measure_is_told_within_its_epoch_and_the_last_one_first_after_a_stop() -> None:
    watch, kept = Watch(), []
    history = Training(CONFIG, LEARNING, IMAGES).run(watch, lambda state: kept.append(deepcopy(state)))
    assert [own for own in watch.seen if isinstance(own, EpochMeasure)] == history
    for measure in history:  # between the steps of the codes and those of the filters
        at = watch.seen.index(measure)
        assert watch.seen[at - 1] == watch.seen[at + 1] == f"layer {measure.layer}"
    again = Watch()
    Training(CONFIG, LEARNING, IMAGES, kept[1]).run(again)
    assert again.seen[0] == history[1]
    assert [own for own in again.seen if isinstance(own, EpochMeasure)] == history[1:]


def test_what_does_not_fit_into_memory_lies_in_files() -> None:
    small = Learning(epochs=3, batch=2, memory_bytes=0, sample=1)
    training = Training(CONFIG, small, IMAGES)
    history = training.run()
    assert isinstance(training.state.pooled, np.memmap)
    assert all(isinstance(own, np.memmap) for own in training.state.switches)
    same_training(training.filters, history, learned())


@pytest.mark.parametrize(("room", "is_in_file"), [(0, True), (1 << 16, False)])
def test_images_in_memory_take_of_the_bound(room: int, is_in_file: bool) -> None:
    learning = replace(LEARNING, epochs=1, memory_bytes=IMAGES.nbytes + room)
    training = Training(CONFIG, learning, IMAGES)
    training.run()
    assert isinstance(training.state.pooled, np.memmap) == is_in_file


def test_a_training_goes_on_with_other_memory_and_batches(tmp_path: Path) -> None:
    file = tmp_path / "m.part"

    def stop(phase: str, done: int, total: int) -> None:
        if phase == "layer 2":
            raise StopError("here")

    net = AdaptiveDeconvNet(CONFIG)
    with pytest.raises(StopError, match="here"):
        net.fit(IMAGES, LEARNING, stop, file)
    net.fit(IMAGES, replace(LEARNING, batch=5, memory_bytes=0), checkpoint=file)
    for own, expected in zip(net.filters, learned()[0], strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_the_batch_does_not_change_what_is_learned(batch: int) -> None:
    filters, history = learned(Learning(epochs=2, batch=2, sample=4))
    others, other_history = learned(Learning(epochs=2, batch=batch, sample=4))
    for own, other in zip(filters, others, strict=True):
        same(own, other, 1e-4)
    for measure, other_measure in zip(history, other_history, strict=True):
        assert measure.error == pytest.approx(other_measure.error, rel=1e-4)
        assert measure.active_share == pytest.approx(other_measure.active_share, rel=0.02)


def test_the_seed_makes_the_filters_and_the_same_seed_the_same_ones() -> None:
    one, other = AdaptiveDeconvNet(CONFIG, seed=1), AdaptiveDeconvNet(CONFIG, seed=2)
    one.fit(IMAGES, LEARNING)
    other.fit(IMAGES, LEARNING)
    same_bits(one.filters[1], other.filters[1])  # by the seed of the learning, not by what was there
    other.fit(IMAGES, Learning(epochs=1, seed=5, sample=1))
    assert not torch.equal(one.filters[0], other.filters[0])


def test_the_error_falls_from_epoch_to_epoch() -> None:
    net = AdaptiveDeconvNet(CONFIG)
    history = net.fit(blobs(), Learning(epochs=6, sample=2))
    assert [(m.layer, m.epoch) for m in history] == [(layer, e) for layer in (1, 2) for e in range(1, 7)]
    for layer in (1, 2):
        errors = [m.error for m in history if m.layer == layer]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.8 * errors[0]
    assert all(0 < m.active_share <= 1 / 8 + 0.1 for m in history)
    assert net.history == tuple(history)


def test_learned_filters_reconstruct_other_images_better_than_random_ones() -> None:
    fitted, random = AdaptiveDeconvNet(CONFIG), AdaptiveDeconvNet(CONFIG)
    fitted.fit(blobs(), Learning(epochs=10, sample=2))
    others = blobs(seed=1)
    rests = [
        float((net.reconstruct(net.infer(others, 1, 10)) - others).norm() / others.norm())
        for net in (fitted, random)
    ]
    assert rests[0] < 0.9 * rests[1]


def test_images_of_zeros_teach_nothing_and_break_nothing() -> None:
    history = Training(CONFIG, LEARNING, np.zeros((3, 1, 10, 9), np.float32)).run()
    assert {(m.error, m.active_share) for m in history} == {(0.0, 0.0)}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused(value: float) -> None:
    images = IMAGES.copy()
    images[3, 0, 2, 2] = value
    with pytest.raises(BadInputError, match="the images hold NaN or infinite values"):
        AdaptiveDeconvNet(CONFIG).fit(images)
