"""Carrying out the plan of one file: the writer says what is left, an engine does it, and every step is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from backlight.atlas.certifying import certify
from backlight.atlas.writer import AtlasWriter
from backlight.engines.plan import Plan
from backlight.engines.work import Engine, Group, groups_of, light_groups
from backlight.errors import NoImageError
from backlight.network.filters import filters_of
from backlight.network.precision import full_float32
from backlight.progress import Progress
from backlight.scan import Scan


def carry_out(plan: Plan, path: Path, engine: Engine, progress: Progress) -> Plan:
    """Do what is left of a plan in its file, and return the plan with the settings and parts of the file.

    The arguments and errors are those of `building.execute`.
    """
    writer = AtlasWriter(path, plan)
    try:
        with _torch_threads(writer.plan.settings.threads):
            with full_float32():
                if writer.phase == "scan":
                    _scan(writer, engine, progress)
                if writer.phase == "certify":
                    certify(writer, engine, progress)
            if writer.phase == "project":
                write_filters(writer)
                _project(writer, engine, progress, "project")
                writer.finish("project")
            if writer.phase == "band":
                _project(writer, engine, progress, "band")
                writer.finish("band")
            if writer.phase == "light":
                _light(writer, engine, progress)
                writer.finish("light")
        return writer.plan
    except NoImageError:
        writer.close()
        path.unlink(missing_ok=True)  # an atlas of nothing, which would be in the way of the next try
        raise
    finally:
        writer.close()


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Run a block on so many of torch's threads: how sums are split among them decides their last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _scan(writer: AtlasWriter, engine: Engine, progress: Progress) -> None:
    """Scan what is left of the images; every shard is kept as it comes."""
    plan = writer.plan
    state, n_done = writer.load_scan()
    for partial in engine.scan(plan, plan.shards(n_done), progress):
        _check_count(partial.shard.start, n_done)
        state, n_done = state.merge(partial.scan), partial.shard.stop
        writer.save_scan(state, n_done, partial)
    _check_count(plan.n_images, n_done)
    if not state.n_images:
        raise _nothing_read(plan, state)
    writer.finish_scan(state)


def _nothing_read(plan: Plan, scan: Scan) -> NoImageError:
    first = min(scan.skipped, key=lambda own: own.id)
    what = "the picture" if plan.n_images == 1 else f"none of the {plan.n_images} pictures"
    verb = "could not be read" if plan.n_images == 1 else "could be read, the first"
    return NoImageError(f"{what} of {plan.images.name!r} {verb}: {first.path}: {first.reason}")


def _check_count(given: int, expected: int) -> None:
    """Refuse what an engine gives back that leaves something out, or counts it twice."""
    if given != expected:
        raise RuntimeError(f"the engine is at {given} where {expected} was expected")


def write_filters(writer: AtlasWriter) -> None:
    """Keep the filters of the layers that have some."""
    for index, layer in enumerate(writer.plan.layers):
        found = filters_of(writer.plan.net, layer)
        if found is not None:
            weights = found.weights.float().cpu().numpy()
            writer.write_filters(index, weights, found.groups, found.reads_pixels)


def _project(writer: AtlasWriter, engine: Engine, progress: Progress, phase: str) -> None:
    """Project the groups of hits, or of examples, that have not all their tiles; every group is kept as it comes."""
    pending = [writer.pending(i, phase) for i in range(len(writer.plan.layers))]
    finished = {(i, *place) for i in range(len(pending)) for place in writer.finished(i, phase)}

    def is_left(group: Group) -> bool:
        return any((hit.layer_index, hit.channel, hit.rank) not in finished for hit in group.hits)

    # A group is projected whole or not at all: how hits are batched can decide the last bit of a value.
    left = [group for group in groups_of(writer.plan, pending) if is_left(group)]
    n_all = sum(map(len, pending))
    n_done = n_all - sum(len(group.hits) for group in left)
    for tiles in engine.project(writer.plan, left):
        writer.write_tiles(tiles, phase)
        n_done += len(tiles)
        progress(phase, n_done, n_all)
    _check_count(n_done, n_all)


def _light(writer: AtlasWriter, engine: Engine, progress: Progress) -> None:
    """Keep the images of hits whole, and then those of examples; every group is kept as it comes."""
    groups, kept = light_groups(*writer.to_light()), writer.lit()
    left = [group for group in groups if not kept.issuperset(group.image_ids)]
    n_all = sum(len(group.image_ids) for group in groups)
    n_done = n_all - sum(len(group.image_ids) for group in left)
    for found in engine.light(writer.plan, left):
        writer.write_light(found)
        n_done += len(found.pictures)
        progress("light", n_done, n_all)
    _check_count(n_done, n_all)
