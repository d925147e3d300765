"""Building an atlas: a plan, an engine that carries it out, and the writer; what is done is never lost.

*Source*: Zeiler & Fergus (2013), Fig. 2: for a feature map the nine strongest activations over the validation
set, each projected separately, beside the patches that caused them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from backlight.atlas.executing import carry_out
from backlight.atlas.growing import Growth, grow, growth, widened
from backlight.atlas.reader import Atlas, open_atlas
from backlight.engines.estimate import Estimate, estimate
from backlight.engines.local import LocalEngine
from backlight.engines.plan import Maps, MapsOfLayer, Plan, choose_maps, plan_build
from backlight.engines.work import Engine
from backlight.errors import BacklightWarning, BadInputError, tell
from backlight.images import ClassNames, ImageSource, Items, OneImage
from backlight.network import Network
from backlight.network.layers import Layers
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.progress import Watching, as_progress, shows_progress
from backlight.scan import Compile, choose_layers
from backlight.storage import check_place, locked
from backlight.text import counted

__all__ = [
    "Estimate",
    "Growth",
    "Maps",
    "Plan",
    "build",
    "estimate",
    "execute",
    "extend",
    "growth",
    "plan_build",
    "plan_extension",
]


@shows_progress
def build(
    net: Network,
    images: ImageSource | OneImage | Items,
    path: Path | str,
    layers: Layers | None = None,
    top: int = 9,
    rules: RuleSet | str | Mapping[str, RuleSet | str] = DECONVNET,
    *,
    maps: Maps = None,
    seed: int = 0,
    batch_size: int = 32,
    compile: Compile = "auto",
    bands: bool = False,
    wholes: bool = True,
    engine: Engine | None = None,
    progress: Watching = None,
    labels: ClassNames | None = None,
) -> Atlas:
    """Build an atlas, or resume one whose build was interrupted, and return it.

    Args:
        net: The captured network, with a preprocessing.
        images: Whatever `open_images` takes: a folder, a list file, tar shards, pictures, a Dataset.
        path: The file to write: one SQLite database. If it holds a part of this very atlas, only the rest is
            done, also where it is finished and was built of fewer layers or feature maps.
        layers: Layer names, or one; None takes the network's default layers.
        top: Hits of a feature map.
        rules: How activations are projected back, a `RuleSet` or a text such as "guided"; by layer name if it differs,
            DECONVNET for layers not named.
        maps: Feature maps of each layer to project: a random sample of so many, a list of channels, None or "all"
            for all; by layer name if it differs, all of layers not named. Statistics are kept of all of them.
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
        progress: True shows bars; a function is called with `compile`, `scan`, `certify`, `project`, `band`, `light`
            or `join`, the number done and the number in all.
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
    return _said(execute(plan, path, engine, progress=progress))


@shows_progress
def execute(
    plan: Plan,
    path: Path | str,
    engine: Engine | None = None,
    *,
    rules: RuleSet | str | Mapping[str, RuleSet | str] | None = None,
    progress: Watching = None,
) -> Atlas:
    """Build the atlas of a plan, or resume it, and return it.

    Args:
        plan: What to do (`plan_build`).
        path: The file to write; as for `build`.
        engine: Who does it; None for this process. It does not show in the atlas.
        rules: By which rules hits are projected beside those of the plan; by layer name if it differs.
        progress: As for `build`.

    Returns:
        The finished atlas, opened for reading.

    Raises:
        AtlasError: The file is not an atlas, or was begun under another plan.
        BadInputError: The atlas has other rules of that name.
        ActivationError: An activation is not finite; names the layer and the image.
        CompileError: The network could not be compiled, and the plan does not fall back.
        StorageError: The file cannot be written, or another run is writing it.
    """
    path, worker, say = Path(path), engine or LocalEngine(), as_progress(progress)
    check_place(path, "atlas")
    with locked(path):  # so that nobody else adds something between looking and adding
        plan = widened(plan.known(), path)
        found = growth(plan, path, rules)
        if found is None:
            carry_out(plan, path, worker, say)
            # What is added to an atlas that there was not needs the atlas first.
            found = None if rules is None else growth(plan, path, rules)
        if found is not None:
            grow(plan, path, found, worker, say)
    return open_atlas(path)


@shows_progress
def extend(
    net: Network,
    images: ImageSource | Items | OneImage,
    path: Path | str,
    layers: Layers | None = None,
    rules: RuleSet | str | Mapping[str, RuleSet | str] | None = None,
    *,
    maps: Maps = 0,
    seed: int = 0,
    bands: bool = False,
    wholes: bool = False,
    engine: Engine | None = None,
    progress: Watching = None,
) -> Atlas:
    """Add feature maps, layers, rule sets or examples of bands to an atlas, and return it; nothing is computed again.

    Args:
        net: The network that it was built with.
        images: The images that it was built over.
        path: The atlas, finished or not. An interrupted extension resumes when the same is asked for again.
        layers: The layers that get feature maps, or one; None takes the atlas's own. New ones are scanned.
        rules: By which rules the hits of all maps are projected too, beside those of the atlas; by layer name if it
            differs, DECONVNET for layers not named. `Atlas.under` shows them.
        maps: Feature maps that the layers shall show, beside those that they show already: as for `build`, but that
            layers that a mapping does not name keep theirs, and that all do unless something is given.
        seed: Random seed of a sample. That of `build`, 0, so that its sample is a part of a larger one.
        bands: Whether to add examples of the bands of all maps.
        wholes: Whether to add the images of hits, whole.
        engine: Who does it; as for `build`.
        progress: As for `build`.

    Raises:
        BadInputError: An unknown layer, a channel out of range, new layers without maps.
        AtlasError: The file is not an atlas, or is one of another network, other images or another preprocessing.
        ActivationError: An activation is not finite; names the layer and the image.
        StorageError: The file cannot be written, or another run is writing it.

    *Convention*: the atlas stays as it was, and can be read, until all that is added is there.

    Example:
        >>> import torch, backlight, numpy as np, tempfile
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> net = backlight.capture(model, (3, 8, 8), backlight.Preprocessing.default(3, 8))
        >>> images = [np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8) for i in range(4)]
        >>> path = tempfile.mkdtemp() + "/small.atlas"
        >>> backlight.build(net, images, path, maps=[0])["1"].channels
        (0,)
        >>> backlight.extend(net, images, path, maps=[0, 3])["1"].channels
        (0, 3)
        >>> backlight.extend(net, images, path, rules=backlight.GUIDED).under("guided").rules.name
        'guided'
    """
    plan = plan_extension(net, images, path, layers, maps=maps, seed=seed, bands=bands, wholes=wholes)
    return _said(execute(plan, path, engine, rules=rules, progress=progress))


def plan_extension(
    net: Network,
    images: ImageSource | Items | OneImage,
    path: Path | str,
    layers: Layers | None = None,
    *,
    maps: Maps = 0,
    seed: int = 0,
    bands: bool = False,
    wholes: bool = False,
) -> Plan:
    """Return the plan of an atlas with what `extend` would add; arguments and errors as there."""
    atlas = open_atlas(path)
    try:
        known, own_rules = atlas.selection.channels, atlas.rules
        chosen = choose_layers(net, list(known) if layers is None else layers)
        asked: dict[str, MapsOfLayer] = {layer.name: 0 for layer in chosen}
        named = maps.items() if isinstance(maps, Mapping) else [(layer.name, maps) for layer in chosen]
        asked |= {net.layer(name).name: own for name, own in named}
        new = [name for name, own in asked.items() if own == 0 and name not in known]
        if new:
            raise BadInputError(
                f"{atlas.path.name} does not have the layer {', '.join(new)} yet, so it must be said how many "
                "feature maps of it are added",
                python="give maps=16, or None for all",
                command="give --maps 16, or all",
            )
        channels = {name: list(found) for name, found in known.items()}
        for layer in chosen:
            own = asked[layer.name]
            added = () if own == 0 else choose_maps(layer, own, seed)
            channels[layer.name] = sorted({*known.get(layer.name, ()), *added})
        by_layer = {name: own_rules.of(name) for name in known}
        return plan_build(
            net,
            images,
            [layer.name for layer in net.layers if layer.name in channels],
            atlas.selection.top,
            by_layer if own_rules.everywhere is None else own_rules.everywhere,
            maps=channels,
            bands=bands,
            wholes=wholes,
        )
    finally:
        atlas.close()


def _said(atlas: Atlas) -> Atlas:
    """Return an atlas, having said what was left out of it."""
    skipped = atlas.skipped
    if skipped:
        tell(
            BacklightWarning(
                f"{len(skipped)} of {counted(atlas.image_set.n_images, 'picture')} could not be read, the first: "
                f"{skipped[0].path}: {skipped[0].reason}; `skipped` of the atlas lists all"
            )
        )
    return atlas
