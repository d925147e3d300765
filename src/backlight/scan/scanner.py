"""The scanner: one forward pass of the network for all layers together, added to a scan batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import ActivationError, CompileError
from backlight.network import Layer, Network
from backlight.network.fast import step_images
from backlight.progress import Progress, silent
from backlight.scan.compiling import compile_frozen
from backlight.scan.peaks import Peaks, as_peaks, peaks_graph
from backlight.scan.state import LayerScan, Scan


class Scanner:
    """Adds batches of images to a scan.

    Args:
        net: The captured network; later changes of its weights are not seen.
        layers: The layers to watch.
        compiled: Whether to compile the graph, which takes half a minute; see `should_compile`.
        falls_back: Whether a graph that cannot be compiled runs as it is.

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
        self, net: Network, layers: Sequence[Layer], compiled: bool = False, falls_back: bool = True
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
                if not falls_back:
                    raise

    def add(self, scan: Scan, batch: Tensor, image_ids: Sequence[int], names: Sequence[str]) -> None:
        """Add a batch to the scan.

        Args:
            scan: Changed in place; unchanged if this raises.
            batch: (n, c, h, w) inputs.
            image_ids: Their ids; none of them is in the scan yet.
            names: What to call the images in an error.

        Raises:
            ActivationError: An activation is not a finite number.
        """
        if not len(batch):
            return
        with torch.no_grad():
            # For each step of at most `self._step` images: for each layer its peaks.
            steps = [self._peaks(self._filled(part)) for part in torch.split(batch, self._step)]
        ids = np.asarray(image_ids, np.int64)
        added = {}
        # Transposed: for each layer the peaks of all steps, joined along the images. The zeros that filled up the
        # last step are cut off; maxima and places (n, c, 1, 1) become (n, c).
        for layer, found in zip(self.layers, zip(*steps, strict=True), strict=True):
            parts = [as_peaks(part) for part in found]
            peaks = Peaks(*(torch.cat(part)[: len(ids)].flatten(1) for part in zip(*parts, strict=True)))
            added[layer.name] = _add(scan.layers[layer.name], layer, peaks, ids, names)
        scan.layers.update(added)  # only now, when no layer has raised

    def _filled(self, part: Tensor) -> Tensor:
        """Return a step's worth of inputs, zeros where there are no more images, channels last."""
        part = part.to(self.net.device, self.net.dtype)
        if len(part) < self._step:
            part = torch.cat([part, part.new_zeros((self._step - len(part), *part.shape[1:]))])
        return part.contiguous(memory_format=torch.channels_last)


def make_scanner(
    net: Network, layers: Sequence[Layer], compiled: bool, falls_back: bool, progress: Progress = silent
) -> Scanner:
    """Return a scanner; compiling, which takes half a minute, is reported as a phase of its own.

    Args:
        net: The captured network.
        layers: The layers to watch.
        compiled: Whether to compile the network.
        falls_back: Whether a network that cannot be compiled runs as it is.
        progress: Called with `compile` before and after, if it compiles.

    Raises:
        CompileError: The network could not be compiled, and there is no falling back.
    """
    if not compiled:
        return Scanner(net, layers)
    progress("compile", 0, 1)
    scanner = Scanner(net, layers, compiled, falls_back)
    progress("compile", 1, 1)
    return scanner


def _add(
    result: LayerScan, layer: Layer, peaks: Peaks, ids: NDArray[np.int64], names: Sequence[str]
) -> LayerScan:
    """Return the result of a layer with the peaks of n images added."""
    n_positions = layer.shape[1] * layer.shape[2] if layer.is_spatial else 1
    # Both (n, c).
    maxima, means = (t.float().cpu().numpy() for t in (peaks.maxima, peaks.sums / n_positions))
    finite = (np.isfinite(maxima) & np.isfinite(means)).all(1)
    if not finite.all():
        # the first such image and its first such map, so that the message is the same in every run
        bad = int(np.flatnonzero(~finite)[0])
        channel = int(np.flatnonzero(~np.isfinite(maxima[bad]) | ~np.isfinite(means[bad]))[0])
        raise ActivationError(
            f"layer {layer.name!r} has an activation that is not finite (channel {channel}) for image "
            f"{names[bad]}; check the weights and the preprocessing, or leave that image out"
        )
    # (n, c) positions in reading order become (n, c, 2) rows and columns; fully connected units have -1 for both.
    flat = peaks.places.cpu().numpy()
    places = np.stack(np.divmod(flat, layer.shape[2]) if layer.is_spatial else (flat, flat), 2)
    return result.add(maxima, means, ids, places.astype(np.int32))
