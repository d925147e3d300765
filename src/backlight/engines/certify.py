"""Certifying hits: answers the questions that a scan has left open about a few images (`backlight.scan.certain`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from backlight.engines.maps import HitMaps
from backlight.engines.pictures import Pictures
from backlight.engines.plan import Plan
from backlight.images import Picture
from backlight.network.exact import ExactNetwork
from backlight.scan.certain import Answer, Question, QuestionGroup, apart, strongest


def answer(
    plan: Plan, maps: HitMaps, exact: ExactNetwork, pictures: Pictures, groups: Sequence[QuestionGroup]
) -> Iterator[tuple[Answer, ...]]:
    """Yield the answers to each group of questions, in the order of the groups.

    A question that float64 need not decide has no answer: the scan's place stands, as no other comes close to it.
    """
    # The next group's pictures are read while the network runs on this one's.
    with ThreadPoolExecutor(1, "backlight-certify") as pool:
        reading = pool.submit(pictures.of, groups[0].image_ids) if groups else None
        for at, group in enumerate(groups):
            seen = reading.result() if reading is not None else {}
            reading = pool.submit(pictures.of, groups[at + 1].image_ids) if at + 1 < len(groups) else None
            contested = [question for question in group.questions if question.is_contested]
            contested += _close(maps, group, seen)
            with _one_thread():
                answers = tuple(_answers(plan, exact, contested, seen))
            yield answers


def _close(maps: HitMaps, group: QuestionGroup, seen: Mapping[int, Picture]) -> Iterator[Question]:
    """Yield the questions, not contested so far, where more than one position may be the strongest."""
    left = [question for question in group.questions if not question.is_contested]
    asked = {question.image_id for question in left}
    for own, found in maps.of({i: picture for i, picture in seen.items() if i in asked}, left):
        # (m, h * w), float32 at least: its own rounding is far below the bounds.
        values = found.flatten(1).to(torch.promote_types(found.dtype, torch.float32))
        most = values.amax(1)
        limits = values.new_tensor([apart(question.bound) for question in own])
        scanned = values.new_tensor([question.value for question in own])
        n_close = (values >= (most - limits)[:, None]).sum(1)
        # Also where this pass and the scan differ by more than both may be off: float64 shows that the bound is broken.
        is_open = (n_close > 1) | ((most - scanned).abs() > limits)
        yield from (question for question, is_left in zip(own, is_open.tolist(), strict=True) if is_left)


def _answers(
    plan: Plan, exact: ExactNetwork, contested: Sequence[Question], seen: Mapping[int, Picture]
) -> Iterator[Answer]:
    """Yield what float64 gives, one image at a time."""
    for image_id in sorted({question.image_id for question in contested}):
        own = [question for question in contested if question.image_id == image_id]
        wanted = sorted({question.layer_index for question in own})
        (pixels,) = plan.preprocessing.normalise([seen[image_id]])
        found = dict(zip(wanted, exact(pixels, wanted), strict=True))
        for question in own:
            yield _answer(question, found[question.layer_index][question.channel])


def _answer(question: Question, own: Tensor) -> Answer:
    """Return the answer from a map (h, w), or a unit (), in float64."""
    key = question.layer_index, question.channel, question.image_id
    values = own.cpu().numpy()
    return Answer(*key, *strongest(values, question.bound)) if values.ndim else Answer(*key, float(values))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run a block on one of torch's threads, so that sums are added in one order only."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
