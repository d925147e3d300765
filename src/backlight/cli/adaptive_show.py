"""`backlight adaptive show`: pictures of a network that `backlight adaptive fit` has learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from backlight.cli import flags
from backlight.cli.output import print_skipped, progress_bars, say
from backlight.cli.parsing import parse_maps
from backlight.cli.writing import write_figure
from backlight.errors import BadInputError
from backlight.storage import check_folder, make_folder

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from backlight.adaptive import AdaptiveDeconvNet, FoundHits
    from backlight.images import ImageSource

_N_EXAMPLES = 4
Values: TypeAlias = Literal["refitted", "shrunk"]


@dataclass(frozen=True)
class _Shown:
    """What is shown of the example pictures.

    Attributes:
        layers: Numbers of layers, from 1.
        values: Of the codes.
        parts: Activations of a decomposition.
        branching: Parts of an activation in the tree.
    """

    layers: Sequence[int]
    values: Values
    parts: int
    branching: int


def show(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="What `backlight adaptive fit` wrote (.adn).")
    ],
    images: flags.ImagesArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write pictures into.")],
    layers: Annotated[
        str, typer.Option("--layers", help="Numbers of layers, from 1, such as 1,2; or all.")
    ] = "all",
    maps: flags.AllMaps = "16",
    top: flags.Top = 9,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            help="A picture to reconstruct; may be given several times. The first is also decomposed. "
            f"Defaults to the first {_N_EXAMPLES} of IMAGES.",
        ),
    ] = None,
    parts: Annotated[
        int,
        typer.Option("--parts", help="Strongest activations of a layer that a picture is decomposed into."),
    ] = 3,
    branching: Annotated[int, typer.Option("--branching", help="Parts of each activation in the tree.")] = 5,
    values: Annotated[
        Values,
        typer.Option(
            "--values",
            help="Values that pictures are reconstructed and decomposed from: refitted (by least squares, where they "
            "are not zero) or shrunk (the published inference). Hits and the tree are always of shrunk ones.",
        ),
    ] = "refitted",
    n_images: flags.HowMany = None,
    batch: flags.Batch = 16,
    seed: Annotated[
        int, typer.Option("--seed", help="Random seed for the samples of --maps and --images.")
    ] = 0,
    device: flags.Device = "cpu",
) -> None:
    """Draw a learned network: filters, feature maps, pictures.

    What its feature maps stand for, and how it represents pictures.
    """
    if min(parts, branching) < 1:
        raise BadInputError(f"--parts and --branching must be at least 1, got {parts} and {branching}")
    check_folder(output)
    from backlight.adaptive import AdaptiveDeconvNet, HitSearch, filter_picture, find_hits
    from backlight.cli.allocation import keep_freed_memory
    from backlight.cli.models import on_device, sample_ids
    from backlight.images import open_images

    keep_freed_memory()
    net = on_device(AdaptiveDeconvNet.load(model), device)
    chosen, some = _parse_layers(net, layers), parse_maps(maps)
    number_or_list = some if isinstance(some, int) or some is None else tuple(some)
    wanted = HitSearch(chosen, number_or_list, top, seed, batch)
    source = open_images(images)
    ids = sample_ids(source, n_images, seed)
    names, prepared = _examples(net, source, ids, image)
    with progress_bars(resumes=False) as report:
        found = find_hits(net, source, wanted, ids, report)
    make_folder(output)
    _write(filter_picture(net), output / "filters.png", "the filters of layer 1")
    _write_maps(found, chosen, output)
    _write_examples(net, prepared, names, output, _Shown(chosen, values, parts, branching))
    print_skipped(found.skipped)


def _parse_layers(net: AdaptiveDeconvNet, text: str) -> tuple[int, ...]:
    if text == "all":
        return tuple(range(1, net.n_layers + 1))
    numbers = [part.strip() for part in text.split(",") if part.strip()]
    if not numbers or not all(part.isdigit() and 1 <= int(part) <= net.n_layers for part in numbers):
        raise BadInputError(
            f"--layers is a list of numbers from 1 to {net.n_layers}, such as 1,{net.n_layers}, or all, "
            f"got {text!r}"
        )
    return tuple(sorted({int(part) for part in numbers}))


def _examples(
    net: AdaptiveDeconvNet, source: ImageSource, ids: Sequence[int], given: Sequence[Path] | None
) -> tuple[list[str], Tensor]:
    """Return names and prepared pictures: those given, else the first of a source that can be read."""
    if given:
        return [path.name for path in given], net.prepare(list(given))
    import torch

    from backlight.adaptive.inputs import readable

    found = list(islice(readable(net.config, source, ids, []), _N_EXAMPLES))
    if not found:
        raise BadInputError(f"none of the {len(ids)} images of {source.name!r} can be read")
    names = [source.records[image_id].path for image_id, _, _ in found]
    return names, net.prepare(torch.stack([own for _, own, _ in found]))


def _write(picture: Image.Image, path: Path, what: str) -> None:
    write_figure(picture, path)
    say("{}: {}", path, what)


def _write_maps(found: FoundHits, layers: Sequence[int], output: Path) -> None:
    from backlight.adaptive import layer_picture

    for layer in layers:
        maps = found.of(layer)
        if not any(own.hits for own in maps):
            _say_left_out(
                f"layer{layer}.png", f"none of {len(maps)} maps is active in any image; --maps all shows all"
            )
            continue
        what = f"{len(maps)} feature maps of layer {layer}: their strongest activations, and the patches behind them"
        _write(layer_picture(found, layer), output / f"layer{layer}.png", what)


def _write_examples(
    net: AdaptiveDeconvNet,
    images: Tensor,
    names: Sequence[str],
    output: Path,
    how: _Shown,
) -> None:
    """Write the reconstructions of pictures, and the decomposition of the first of them.

    Args:
        net: The network.
        images: Prepared.
        names: Their names.
        output: The folder to write into.
        how: What is shown of them.
    """
    from backlight.adaptive import (
        active_layers,
        decomposition_picture,
        reconstruction_picture,
        switch_picture,
        tree_picture,
    )

    layers = how.layers
    codes = net.infer(images, max(layers), values=how.values)
    what = "pictures, and what each layer reconstructs"
    picture = reconstruction_picture(net, images, codes, names, layers)
    _write(picture, output / "reconstructions.png", what)
    first, name = codes.of(0), names[0]
    active = [layer for layer in layers if layer in active_layers(first)]
    for layer in sorted(set(layers) - set(active)):
        _say_left_out(f"layer {layer}", f"nothing in it is active for {name}")
    if active:
        picture = decomposition_picture(net, images[0], first, how.parts, active)
        _write(picture, output / "decomposition.png", f"{name} by its strongest activations in each layer")
        picture = switch_picture(net, images[0], first, active)
        _write(
            picture, output / "switches.png", f"{name} reconstructed with all of the switches, and with fewer"
        )
    if not active or max(active) < 2:
        _say_left_out("tree.png", f"no layer above the first is shown and active for {name}")
        return
    single = net.infer(images[:1], max(active), values="shrunk")
    picture = tree_picture(net, images[0], single, how.branching, max(active))
    what = f"what the strongest activation of layer {max(active)} for {name} is made of, layer below layer"
    _write(picture, output / "tree.png", what)


def _say_left_out(name: str, why: str) -> None:
    say("{} is left out: {}", name, why)
