"""Certifying the hits of an atlas: what the scan has left open is asked, answered step by step, and then decided."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from backlight.atlas.rows import CANDIDATES, INSERT_HIT, settled_rows
from backlight.atlas.writer import AtlasWriter
from backlight.engines.work import Engine
from backlight.errors import AtlasError
from backlight.progress import Progress
from backlight.scan.certain import Answer, Candidates, question_groups, questions_of, settle
from backlight.storage.arrays import BROKEN, packed, read_npz

STEP_IMAGES = 32
"""Images that are asked about in one step: what a killed build loses at most."""

Maps = list[tuple[int, int, Candidates]]
"""Of each feature map that is shown its layer, as a place in the plan, its channel and its candidates."""


def certify(writer: AtlasWriter, engine: Engine, progress: Progress) -> None:
    """Decide which hits are the strongest, and how many of them are certain; every step is kept as it comes.

    Raises:
        AtlasError: What the scan has left is damaged.
    """
    plan, steps = writer.plan, _steps(writer)
    maps = _candidates(writer, steps.pop(CANDIDATES, None))
    questions = [
        question
        for i, channel, own in maps
        for question in questions_of(i, channel, own, plan.top, plan.layers[i].is_spatial)
    ]
    groups = question_groups(questions, STEP_IMAGES)
    n_all = sum(len(group.image_ids) for group in groups)
    # Step 0 holds the candidates, so the groups count from 1.
    left = {step: group for step, group in enumerate(groups, 1) if step not in steps}
    n_done = n_all - sum(len(group.image_ids) for group in left.values())
    found = zip(left.items(), engine.certify(plan, list(left.values())), strict=True)
    for (step, group), answers in found:
        steps[step] = _packed(answers)
        with writer.step("certify") as connection:
            connection.execute("INSERT INTO certify_state VALUES (?, ?)", (step, steps[step]))
        n_done += len(group.image_ids)
        progress("certify", n_done, n_all)
    _finish(writer, maps, [answer for data in steps.values() for answer in _unpacked(writer, data)])


def _finish(writer: AtlasWriter, maps: Maps, answers: Sequence[Answer]) -> None:
    """Keep the hits as they have been decided, and how many of each map are certain; begin the projections."""
    by_map: dict[tuple[int, int], dict[int, Answer]] = {}
    for answer in answers:
        by_map.setdefault((answer.layer_index, answer.channel), {})[answer.image_id] = answer
    with writer.step("certify", "project") as connection:
        for i, channel, own in maps:
            settled = settle(own, by_map.get((i, channel), {}), writer.plan.top)
            connection.executemany(INSERT_HIT, settled_rows(i, channel, settled))
            connection.execute("INSERT INTO certainty VALUES (?, ?, ?)", (i, channel, settled.n_certain))
            if len(settled.values):  # the strongest activation is that of the first hit, to the last bit
                most = float(settled.values[0])
                connection.execute(
                    "UPDATE feature_map SET max = ? WHERE layer_id = ? AND channel = ? AND max != ?",
                    (most, i, channel, most),
                )
        connection.execute("DELETE FROM certify_state")


def _steps(writer: AtlasWriter) -> dict[int, bytes]:
    """Return what the phase has kept so far, by step."""
    return dict(writer.rows("SELECT step, arrays FROM certify_state ORDER BY step"))


def _candidates(writer: AtlasWriter, data: bytes | None) -> Maps:
    """Return the candidates of every feature map that is shown."""
    maps: Maps = []
    with _reading(writer):
        arrays = read_npz(io.BytesIO(data or b""))
        for i, channels in enumerate(writer.plan.channels):
            own = [arrays[f"{i}.{name}"] for name in ("values", "image_ids", "places", "bounds")]
            for channel, *found in zip(channels, *own, strict=True):
                maps.append((i, channel, Candidates.among(*found)))
    return maps


def _packed(answers: Sequence[Answer]) -> bytes:
    """Return answers as the bytes of an npz."""
    keys = [(a.layer_index, a.channel, a.image_id) for a in answers]
    return packed(
        {
            "keys": np.array(keys, np.int64).reshape(-1, 3),
            "values": np.array([a.value for a in answers], np.float64),
            "places": np.array([(a.row, a.col) for a in answers], np.int32).reshape(-1, 2),
        }
    )


def _unpacked(writer: AtlasWriter, data: bytes) -> list[Answer]:
    """Return the answers that `_packed` packed."""
    with _reading(writer):
        arrays = read_npz(io.BytesIO(data))
        columns = [arrays[name].tolist() for name in ("keys", "values", "places")]
        return [
            Answer(i, channel, image_id, value, row, col)
            for (i, channel, image_id), value, (row, col) in zip(*columns, strict=True)
        ]


@contextmanager
def _reading(writer: AtlasWriter) -> Iterator[None]:
    """Say in one line that what the scan has left is damaged."""
    try:
        yield
    except BROKEN as error:
        raise AtlasError(
            f"{str(writer.path)!r} is damaged (what its scan has left cannot be read: {error}); "
            "build it again under another name"
        ) from error
