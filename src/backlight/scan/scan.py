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

from backlight.errors import ActivationError, BadInputError
from backlight.images import ImageSource, Skipped, load_batches, open_images
from backlight.network import Layer, Network
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
        net: The captured network.
        layers: The layers to watch.
    """

    def __init__(self, net: Network, layers: Sequence[Layer]) -> None:
        self.net, self.layers = net, layers
        self._module = net.features(layers)

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
            outputs = self._module(batch.to(self.net.device, self.net.dtype))
        ids = np.asarray(image_ids, np.int64)
        added = {
            layer.name: _add(scan.layers[layer.name], layer, out, ids, names)
            for layer, out in zip(self.layers, outputs, strict=True)
        }
        scan.layers.update(added)


def _add(
    result: LayerScan, layer: Layer, out: Tensor, ids: NDArray[np.int64], names: Sequence[str]
) -> LayerScan:
    maps = out.flatten(2) if layer.is_spatial else out[..., None]
    maxima, means = (t.float().cpu().numpy() for t in (maps.amax(2), maps.mean(2)))
    finite = (np.isfinite(maxima) & np.isfinite(means)).all(1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        channel = int(np.flatnonzero(~np.isfinite(maxima[bad]) | ~np.isfinite(means[bad]))[0])
        raise ActivationError(
            f"layer {layer.name!r} has an activation that is not finite (channel {channel}) for image "
            f"{names[bad]}; check the weights and the preprocessing, or leave that image out"
        )

    def places(samples: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[np.int32]:
        if not layer.is_spatial:
            return np.full((len(samples), 2), -1, np.int32)
        index = (torch.as_tensor(v, device=maps.device) for v in (samples, channels))
        flat = maps[tuple(index)].argmax(1).cpu().numpy()
        return np.stack(np.divmod(flat, layer.shape[2]), 1).astype(np.int32)

    return LayerScan(result.hits.add(maxima, ids, places), result.statistics.add(maxima, means))


def choose_layers(net: Network, layers: Sequence[str | Layer] | None) -> tuple[Layer, ...]:
    """Return the layers of those names, each once, in the order of the graph; None gives the default layers."""
    if layers is None:
        return net.default_layers
    wanted = {net.layer(name) for name in layers}
    return tuple(layer for layer in net.layers if layer in wanted)


def scan(
    net: Network,
    images: ImageSource | Tensor | Sequence[object] | str,
    layers: Sequence[str | Layer] | None = None,
    top: int = 9,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Scan:
    """Return the top hits and statistics of every feature map, in one pass over the images.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or whatever `open_images` takes: a folder, a list file, tar shards, pictures.
        layers: Layer names; None takes the network's default layers.
        top: Hits to keep of each feature map, one an image.
        batch_size: Images in one forward pass.
        progress: Called after each batch.

    Raises:
        BadInputError: An unknown layer, or images that do not fit.
        ActivationError: An activation is not finite; names the layer and the image.

    Example:
        >>> import torch, torchvision, backlight
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 64, 64))
        >>> found = backlight.scan(net, torch.rand(20, 3, 64, 64), ["features.3.cat"])
        >>> found.layers["features.3.cat"].hits.values.shape
        (128, 9)
    """
    chosen = choose_layers(net, layers)
    scanner, state = Scanner(net, chosen), Scan.empty(chosen, top)
    if isinstance(images, Tensor):
        batch = net.prepare(images)
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
    done = 0
    for loaded in load_batches(source, net.preprocessing, range(len(source)), batch_size):
        names = [source.records[i].path for i in loaded.ids]
        scanner.add(state, loaded.tensor, loaded.ids, names)
        state.skipped.extend(loaded.skipped)
        done += len(loaded.ids) + len(loaded.skipped)
        _report(progress, done, len(source))
    return state


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress("scan", done, total)
