"""The scan of a set of images: one forward pass per image, the top hits and statistics of every feature map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from backlight.errors import BadInputError
from backlight.images import ImageSource, Items, OneImage, Skipped, load_batches, open_images
from backlight.network import Layer, Network
from backlight.network.layers import Layers, layer_names
from backlight.progress import Progress as Progress
from backlight.progress import Watching, as_progress, shows_progress
from backlight.scan.compiling import Compile, should_compile
from backlight.scan.scanner import make_scanner
from backlight.scan.state import Scan


def choose_layers(net: Network, layers: Layers | None) -> tuple[Layer, ...]:
    """Return the layers of those names, each once, in the order of the graph; None gives the default layers."""
    if layers is None:
        return net.default_layers
    wanted = {net.layer(name) for name in layer_names(layers)}  # looking a layer up refuses unknown names
    return tuple(layer for layer in net.layers if layer in wanted)


@shows_progress
def scan(
    net: Network,
    images: Tensor | ImageSource | OneImage | Items,
    layers: Layers | None = None,
    top: int = 9,
    *,
    batch_size: int = 32,
    compile: Compile = "auto",
    progress: Watching = None,
) -> Scan:
    """Return the top hits and statistics of every feature map, in one pass over the images.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or whatever `open_images` takes: a folder, a list file, tar shards, pictures, a
            Dataset. A tensor of floats is inputs, normalised already; one of uint8 is pictures.
        layers: Layer names, or one; None takes the network's default layers.
        top: Hits to keep of each feature map, one an image.
        batch_size: Images that are read and added at a time; does not show in the results.
        compile: Whether to compile the network first: `on`, `off`, or `auto`, by the rule of `should_compile`.
        progress: True shows bars; a function is called with `compile` or `scan`, the number of images done, and the
            number in all.

    Raises:
        BadInputError: An unknown layer, or images that do not fit.
        ActivationError: An activation is not finite; names the layer and the image.
        CompileError: With `on`: the network could not be compiled.

    Example:
        >>> import torch, torchvision, backlight
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 64, 64))
        >>> found = backlight.scan(net, torch.rand(20, 3, 64, 64), ["features.3.cat"])
        >>> found.layers["features.3.cat"].hits.values.shape
        (128, 9)
    """
    chosen, say = choose_layers(net, layers), as_progress(progress)
    state = Scan.empty(chosen, top)
    n_images, batches = _batches(net, images, batch_size)
    compiled = should_compile(compile, net.device, n_images)
    scanner, done = make_scanner(net, chosen, compiled, compile != "on", say), 0
    for tensor, ids, names, skipped in batches:
        scanner.add(state, tensor, ids, names)
        state.skipped.extend(skipped)
        done += len(ids) + len(skipped)  # a batch is what could be read of `batch_size` images
        say("scan", done, n_images)
    return state


_Batch = tuple[Tensor, Sequence[int], Sequence[str], Sequence[Skipped]]
"""Inputs (n, c, h, w), their ids, what to call them in an error, and the images that could not be read."""


def _batches(
    net: Network, images: Tensor | ImageSource | OneImage | Items, batch_size: int
) -> tuple[int, Iterator[_Batch]]:
    """Return the number of images, and their batches."""
    if net.takes_as_inputs(images):
        whole = net.prepare(images)
        # Views (b, c, h, w) of the one tensor; an image's id is its place in it. None can be skipped.
        parts = [range(i, min(i + batch_size, len(whole))) for i in range(0, len(whole), batch_size)]
        return len(whole), (
            (whole[ids.start : ids.stop], ids, [f"number {i}" for i in ids], ()) for ids in parts
        )
    source = images if isinstance(images, ImageSource) else open_images(images)
    if net.preprocessing is None:
        raise BadInputError(
            f"{net.name} was captured without preprocessing and takes tensors only; "
            "pass capture(model, example, preprocessing=Preprocessing(...))"
        )
    loaded = load_batches(source, net.preprocessing, range(len(source)), batch_size)
    return len(source), (
        (own.tensor, own.ids, [source.records[i].path for i in own.ids], own.skipped) for own in loaded
    )
