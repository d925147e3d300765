"""Building an atlas: a plan, an engine that carries it out, and the writer; what is done is never lost.

*Source*: Zeiler & Fergus (2013), Fig. 2: for a feature map the nine strongest activations over the validation
set, each projected separately, beside the patches that caused them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from backlight.atlas.certifying import certify
from backlight.atlas.reader import Atlas, open_atlas
from backlight.atlas.writer import AtlasWriter
from backlight.engines.estimate import Estimate, estimate
from backlight.engines.local import LocalEngine
from backlight.engines.plan import Maps, Plan, plan_build
from backlight.engines.work import Engine, Group, groups_of, light_groups
from backlight.images import ClassNames, ImageSource, Items, OneImage
from backlight.network import Network
from backlight.network.filters import filters_of
from backlight.network.layers import Layers
from backlight.network.precision import full_float32
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.progress import Progress, silent
from backlight.scan import Compile

__all__ = ["Estimate", "Maps", "Plan", "build", "estimate", "execute", "plan_build"]


def build(
    net: Network,
    images: ImageSource | OneImage | Items,
    path: Path | str,
    layers: Layers | None = None,
    top: int = 9,
    rules: RuleSet | Mapping[str, RuleSet] = DECONVNET,
    *,
    maps: Maps = None,
    seed: int = 0,
    batch_size: int = 32,
    compile: Compile = "auto",
    bands: bool = False,
    wholes: bool = True,
    engine: Engine | None = None,
    progress: Progress | None = None,
    labels: ClassNames | None = None,
) -> Atlas:
    """Build an atlas, or resume one whose build was interrupted, and return it.

    Args:
        net: The captured network, with a preprocessing.
        images: Whatever `open_images` takes: a folder, a list file, tar shards, pictures, a Dataset.
        path: The file to write: one SQLite database. If it holds a part of this very atlas, only the rest is
            done.
        layers: Layer names, or one; None takes the network's default layers.
        top: Hits of a feature map.
        rules: How activations are projected back; by layer name if it differs, DECONVNET for layers not named.
        maps: Feature maps of each layer to project: a random sample of so many, a list of channels, None for
            all; by layer name if it differs, all of layers not named. Statistics are kept of all of them.
        seed: Random seed of that sample.
        batch_size: Images that are read together, and projected in one forward pass at most; a resumed build
            keeps the one that it was begun with.
        compile: Whether to compile the network for the scan: `on`, `off`, or `auto`, by the rule of
            `backlight.scan.should_compile`; a resumed build keeps what it was begun with, and so with torch's
            number of threads.
        bands: Whether to project an example of each bin of every map's histogram, beside the hits. Added to an atlas
            that was finished without; a resumed build keeps what it was begun with.
        wholes: Whether to keep each image of a hit whole, as the network saw it, and the activations of the hit's map
            over it; kept and added like `bands`. Atlases of earlier versions stay without.
        engine: Who does it: None for this process, or a `RayEngine`. It does not show in the atlas.
        progress: Called with `compile`, `scan`, `certify`, `project`, `band` or `light`, the number done and the number
            in all.
        labels: Names of the classes, which are kept in the place of their numbers: in their order, by label, `imagenet`
            for torchvision's, or a file of them (a name on each line, or JSON).

    Returns:
        The finished atlas, opened for reading.

    Raises:
        BadInputError: An unknown layer, a channel out of range, no image, no preprocessing.
        AtlasError: The file is not an atlas, was begun with something else, or by a version that knew no bands.
        UnsupportedOperatorError: An operator between a layer and the pixels has no rule; raised before any work.
        ActivationError: An activation is not finite; names the layer and the image.
        CompileError: With `on`: the network could not be compiled.
        StorageError: The file cannot be written, or another run is writing it.

    *Convention*: a hit is an activation above zero; a map that has none is dead and keeps no tile. Hits that rounding
    could put into another order are decided in float64 (`backlight.scan.certain`). Pictures that cannot be read are
    skipped and listed with their reasons.
    """
    plan = plan_build(
        net,
        images,
        layers,
        top,
        rules,
        maps=maps,
        seed=seed,
        batch_size=batch_size,
        compile=compile,
        bands=bands,
        wholes=wholes,
        labels=labels,
    )
    return execute(plan, path, engine, progress=progress)


def execute(
    plan: Plan, path: Path | str, engine: Engine | None = None, *, progress: Progress | None = None
) -> Atlas:
    """Build the atlas of a plan, or resume it, and return it.

    Args:
        plan: What to do (`plan_build`).
        path: The file to write; as for `build`.
        engine: Who does it; None for this process. It does not show in the atlas.
        progress: As for `build`.

    Returns:
        The finished atlas, opened for reading.

    Raises:
        AtlasError: The file is not an atlas, or was begun under another plan.
        ActivationError: An activation is not finite; names the layer and the image.
        CompileError: The network could not be compiled, and the plan does not fall back.
        StorageError: The file cannot be written, or another run is writing it.
    """
    path, worker, say = Path(path), engine or LocalEngine(), progress or silent
    writer = AtlasWriter(path, plan)
    try:
        with _torch_threads(writer.plan.settings.threads):
            with full_float32():
                if writer.phase == "scan":
                    _scan(writer, worker, say)
                if writer.phase == "certify":
                    certify(writer, worker, say)
            if writer.phase == "project":
                _write_filters(writer)
                _project(writer, worker, say, "project")
                writer.finish("project")
            if writer.phase == "band":
                _project(writer, worker, say, "band")
                writer.finish("band")
            if writer.phase == "light":
                _light(writer, worker, say)
                writer.finish("light")
    finally:
        writer.close()
    return open_atlas(path)


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
    writer.finish_scan(state)


def _check_count(given: int, expected: int) -> None:
    """Refuse what an engine gives back that leaves something out, or counts it twice."""
    if given != expected:
        raise RuntimeError(f"the engine is at {given} where {expected} was expected")


def _write_filters(writer: AtlasWriter) -> None:
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
