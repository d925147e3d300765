"""The scan: one forward pass per image for all layers together, the top hits and statistics of every map.

Memory does not grow with the number of images: a scan holds k hits and a histogram for each feature map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import ActivationError, BadInputError, CompileError
from backlight.images import ImageSource, Skipped, load_batches, open_images
from backlight.network import Layer, Network
from backlight.network.fast import step_images
from backlight.network.layers import Layers, layer_names
from backlight.scan.compiling import Compile, compile_frozen, should_compile
from backlight.scan.peaks import Peaks, as_peaks, peaks_graph
from backlight.scan.statistics import MapStatistics
from backlight.scan.topk import TopHits

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is in all."""


@dataclass(frozen=True)
class LayerScan:
    """What a scan found out about one layer.

    Attributes:
        hits: The strongest hits of every feature map.
        statistics: Statistics of every feature map.
    """

    hits: TopHits
    statistics: MapStatistics

    def merge(self, other: LayerScan) -> LayerScan:
        """Return the result for both sets of images, which have no image in common."""
        return LayerScan(self.hits.merge(other.hits), self.statistics.merge(other.statistics))


@dataclass
class Scan:
    """The state of a scan: a result for each layer, and the pictures that could not be read.

    Attributes:
        layers: Layer names in the order of the graph, with their results.
        skipped: Pictures that could not be read, with the reasons.
    """

    layers: dict[str, LayerScan]
    skipped: list[Skipped] = field(default_factory=list)

    @classmethod
    def empty(cls, layers: Iterable[Layer], top: int) -> Scan:
        """Return the scan of no image."""
        if top < 1:
            raise BadInputError(f"top is the number of hits of a feature map, at least 1, but came {top}")
        return cls(
            {y.name: LayerScan(TopHits.empty(y.n_maps, top), MapStatistics.empty(y.n_maps)) for y in layers}
        )

    @property
    def n_images(self) -> int:
        """Number of images that were read."""
        return next((s.statistics.n_images for s in self.layers.values()), 0)

    def merge(self, other: Scan) -> Scan:
        """Return the scan of both sets of images, which have no image in common."""
        layers = {name: result.merge(other.layers[name]) for name, result in self.layers.items()}
        return Scan(layers, sorted([*self.skipped, *other.skipped], key=lambda s: s.id))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the results of all layers as plain arrays, named `layer index.what`."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for i, result in enumerate(self.layers.values()):
            for part in (result.hits, result.statistics):
                arrays |= {f"{i}.{name}": np.asarray(value) for name, value in vars(part).items()}
        return arrays

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: dict[str, NDArray[np.generic]]) -> Scan:
        """Return the scan that `to_arrays` gave the arrays of; without its skipped pictures."""

        def part(i: int, kind: type[TopHits] | type[MapStatistics]) -> dict[str, object]:
            found = {name: arrays[f"{i}.{name}"] for name in kind.__annotations__}
            return found | ({"n_images": int(arrays[f"{i}.n_images"])} if kind is MapStatistics else {})

        return cls(
            {
                name: LayerScan(TopHits(**part(i, TopHits)), MapStatistics(**part(i, MapStatistics)))  # type: ignore[arg-type]
                for i, name in enumerate(names)
            }
        )


class Scanner:
    """Adds batches of images to a scan.

    Args:
        net: The captured network; later changes of its weights are not seen.
        layers: The layers to watch.
        compiled: Whether to compile the graph, which takes half a minute; see `should_compile`.
        fall_back: Whether a graph that cannot be compiled runs as it is.

    Attributes:
        is_compiled: Whether the graph is compiled.

    Raises:
        CompileError: The graph could not be compiled, and there is no falling back.

    *Convention*: the network always runs on the same number of images at a time, whatever the batch, the last of
    them filled up. So the batch size does not show in the results; and on a CPU the maps of a few images stay in
    its cache. Where the arithmetic library rounds by the place of an image in its batch, two activations that
    differ in their last bit only can change places: hits are ordered by the values that were computed.
    """

    def __init__(
        self, net: Network, layers: Sequence[Layer], compiled: bool = False, fall_back: bool = True
    ) -> None:
        self.net, self.layers = net, layers
        self._step = step_images(net.device)
        self._peaks: Callable[[Tensor], Sequence[Sequence[Tensor] | Tensor]] = peaks_graph(net, layers)
        self.is_compiled = False
        if compiled:
            try:
                self._peaks = compile_frozen(self._peaks, self._filled(torch.zeros(0, *net.input_shape)))
                self.is_compiled = True
            except CompileError:
                if not fall_back:
                    raise

    def add(self, scan: Scan, batch: Tensor, image_ids: Sequence[int], names: Sequence[str]) -> None:
        """Add a batch to the scan.

        Args:
            scan: Changed in place, a layer at a time; unchanged if this raises.
            batch: (n, c, h, w) inputs.
            image_ids: Their ids; none of them is in the scan yet.
            names: What to call the images in an error.

        Raises:
            ActivationError: An activation is not a finite number.
        """
        if not len(batch):
            return
        with torch.no_grad():
            steps = [self._peaks(self._filled(part)) for part in torch.split(batch, self._step)]
        ids = np.asarray(image_ids, np.int64)
        added = {}
        for layer, found in zip(self.layers, zip(*steps, strict=True), strict=True):
            parts = [as_peaks(part) for part in found]
            peaks = Peaks(*(torch.cat(part)[: len(ids)].flatten(1) for part in zip(*parts, strict=True)))
            added[layer.name] = _add(scan.layers[layer.name], layer, peaks, ids, names)
        scan.layers.update(added)

    def _filled(self, part: Tensor) -> Tensor:
        """Return a step's worth of inputs, zeros where there are no more images, channels last."""
        part = part.to(self.net.device, self.net.dtype)
        if len(part) < self._step:
            part = torch.cat([part, part.new_zeros((self._step - len(part), *part.shape[1:]))])
        return part.contiguous(memory_format=torch.channels_last)


def _add(
    result: LayerScan, layer: Layer, peaks: Peaks, ids: NDArray[np.int64], names: Sequence[str]
) -> LayerScan:
    n_positions = layer.shape[1] * layer.shape[2] if layer.is_spatial else 1
    maxima, means = (t.float().cpu().numpy() for t in (peaks.maxima, peaks.sums / n_positions))
    finite = (np.isfinite(maxima) & np.isfinite(means)).all(1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        channel = int(np.flatnonzero(~np.isfinite(maxima[bad]) | ~np.isfinite(means[bad]))[0])
        raise ActivationError(
            f"layer {layer.name!r} has an activation that is not finite (channel {channel}) for image "
            f"{names[bad]}; check the weights and the preprocessing, or leave that image out"
        )
    flat = peaks.places.cpu().numpy()
    places = np.stack(np.divmod(flat, layer.shape[2]) if layer.is_spatial else (flat, flat), 2)
    hits = result.hits.add(maxima, ids, places.astype(np.int32))
    return LayerScan(hits, result.statistics.add(maxima, means))


def choose_layers(net: Network, layers: Layers | None) -> tuple[Layer, ...]:
    """Return the layers of those names, each once, in the order of the graph; None gives the default layers."""
    if layers is None:
        return net.default_layers
    wanted = {net.layer(name) for name in layer_names(layers)}
    return tuple(layer for layer in net.layers if layer in wanted)


def scan(
    net: Network,
    images: ImageSource | Tensor | Sequence[object] | str,
    layers: Layers | None = None,
    top: int = 9,
    batch_size: int = 32,
    progress: Progress | None = None,
    compile: Compile = "auto",
) -> Scan:
    """Return the top hits and statistics of every feature map, in one pass over the images.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or whatever `open_images` takes: a folder, a list file, tar shards, pictures.
        layers: Layer names, or one; None takes the network's default layers.
        top: Hits to keep of each feature map, one an image.
        batch_size: Images that are read and added at a time; does not show in the results.
        progress: Called after each batch.
        compile: Whether to compile the network first: `on`, `off`, or `auto`, by the rule of `should_compile`.

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
    chosen = choose_layers(net, layers)
    state = Scan.empty(chosen, top)
    if isinstance(images, Tensor):
        batch = net.prepare(images)
        scanner = make_scanner(net, chosen, compile, len(batch), progress=progress)
        for start in range(0, len(batch), batch_size):
            ids = range(start, min(start + batch_size, len(batch)))
            scanner.add(state, batch[start : start + batch_size], ids, [f"number {i}" for i in ids])
            _report(progress, ids.stop, len(batch))
        return state
    source = images if isinstance(images, ImageSource) else open_images(images)  # type: ignore[arg-type]
    if net.preprocessing is None:
        raise BadInputError(
            f"{net.name} was captured without preprocessing and takes tensors only; "
            "pass capture(model, example, preprocessing=Preprocessing(...))"
        )
    scanner = make_scanner(net, chosen, compile, len(source), progress=progress)
    done = 0
    for loaded in load_batches(source, net.preprocessing, range(len(source)), batch_size):
        names = [source.records[i].path for i in loaded.ids]
        scanner.add(state, loaded.tensor, loaded.ids, names)
        state.skipped.extend(loaded.skipped)
        done += len(loaded.ids) + len(loaded.skipped)
        _report(progress, done, len(source))
    return state


def make_scanner(
    net: Network,
    layers: Sequence[Layer],
    compile: Compile,
    n_images: int,
    kept: bool | None = None,
    progress: Progress | None = None,
) -> Scanner:
    """Return what scans so many images, compiled by the rule of `should_compile`.

    Args:
        net: The captured network.
        layers: The layers to watch.
        compile: `on`, `off`, or `auto`, which falls back where the network cannot be compiled.
        n_images: Images that will be scanned.
        kept: What a scan that is gone on with was begun with; decides where it is there.
        progress: Called with `compile` before and after.

    Raises:
        BadInputError: `compile` is unknown.
        CompileError: With `on`: the network could not be compiled.
    """
    by_rule = should_compile(compile, net.device, n_images)
    compiled = by_rule if kept is None else kept
    if compiled:
        _report(progress, 0, 1, "compile")
    scanner = Scanner(net, layers, compiled, fall_back=compile != "on")
    if compiled:
        _report(progress, 1, 1, "compile")
    return scanner


def _report(progress: Progress | None, done: int, total: int, phase: str = "scan") -> None:
    if progress is not None:
        progress(phase, done, total)
