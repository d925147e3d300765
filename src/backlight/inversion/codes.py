"""Codes: the activations of a layer for images, the part of them to match, and what cannot be a code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import ActivationError, BadInputError, UnknownLayerError
from backlight.geometry import Box
from backlight.inversion.colours import Colours
from backlight.inversion.waking import wake_rectifiers
from backlight.network import Images, Layer, Network
from backlight.network.fast import FastNetwork, step_images
from backlight.network.stem import speed_up_stem
from backlight.text import counted


class Coder:
    """Runs a network from grey levels without their mean to the codes of one layer.

    Args:
        net: The captured network.
        layer: The layer, or its name.
        wakes: Whether gradients pass rectifiers that would block all of them (`wake_rectifiers`).

    Raises:
        UnknownLayerError: The network has no such layer.
        BadInputError: The layer is the network's input, or the network is of half precision, too coarse for a search.
    """

    def __init__(self, net: Network, layer: str | Layer, wakes: bool = False) -> None:
        if net.dtype not in (torch.float32, torch.float64):
            raise BadInputError(
                f"a search needs a float32 or float64 network, but {net.name} is "
                f"{str(net.dtype).removeprefix('torch.')}; capture model.float()"
            )
        self.net, self.colours = net, Colours.of(net)
        self.layer = _known(net, layer)
        self._run = FastNetwork(net, [self.layer])
        speed_up_stem(self._run.graph)
        if wakes:
            wake_rectifiers(self._run.graph)

    def __call__(self, levels: Float[Tensor, "n c h w"]) -> Tensor:
        """Return the codes of images in grey levels without their mean, (n, c, h, w) or (n, c); differentiable."""
        # Convolutions are faster on CPUs with the channels last.
        inputs = self.colours.to_inputs(levels).contiguous(memory_format=torch.channels_last)
        codes: Tensor = self._run.graph(inputs)[0]
        return codes

    def of_inputs(self, inputs: Float[Tensor, "n c h w"]) -> Tensor:
        """Return the codes of a network's inputs, without gradients.

        Raises:
            ActivationError: A code is not finite.
        """
        step = step_images(self.net.device)
        codes = torch.cat([self._run(part)[0] for part in torch.split(inputs, step)])
        # (n,) whether all values of an image's code are finite, to name the first that is not
        finite = codes.flatten(1).isfinite().all(1)
        if not finite.all():
            which = "the image" if len(inputs) == 1 else f"image {int(finite.int().argmin())}"
            raise ActivationError(
                f"{self.net.name} gives values that are not finite in layer {self.layer.name!r} for {which}; "
                "look for NaN in the weights, or preprocessing made for another network"
            )
        return codes

    def check_code(self, code: Tensor | NDArray[np.generic]) -> Tensor:
        """Return a code as a batch of one, (1, c, h, w) or (1, c), on the network's device.

        Raises:
            BadInputError: Its shape is not the layer's, or it holds NaN, infinite values or no real numbers.
        """
        given = _numbers(code)
        given = given[None] if tuple(given.shape) == self.layer.shape else given
        if tuple(given.shape) != (1, *self.layer.shape):
            shapes = self.layer.shape, self.net.input_shape, code.shape
            wanted, image, own = ("x".join(map(str, shape)) for shape in shapes)
            raise BadInputError(
                f"a code of layer {self.layer.name!r} has the shape {wanted}, an image {image}, got {own}",
                python="net.layers lists the shapes",
                command="`backlight layers MODEL --all` lists the shapes",
            )
        if not given.isfinite().all():
            raise BadInputError(f"the code for layer {self.layer.name!r} holds NaN or infinite values")
        return given.to(self.net.device, self.net.dtype)

    def mask(
        self, channels: Sequence[int] | None = None, box: Box | None = None, centre: int | None = None
    ) -> Tensor | None:
        """Return 1 for the part of a code to match and 0 elsewhere, (1, c, h, w) or (1, c); None to match all of it.

        Args:
            channels: Feature maps to match; None for all.
            box: Rows and columns to match; None for all.
            centre: Instead of a box, the number of central rows and columns.

        Raises:
            BadInputError: A channel is out of range, or the box does not lie in the layer.
        """
        if channels is None and box is None and centre is None:
            return None
        box = box if centre is None else central_box(self.layer, centre)
        # (1, c, h, w) or (1, c), to broadcast over a batch of codes
        mask = torch.zeros(1, *self.layer.shape, dtype=self.net.dtype, device=self.net.device)
        chosen = list(range(self.layer.n_maps)) if channels is None else list(channels)
        wrong = [channel for channel in chosen if not 0 <= channel < self.layer.n_maps]
        if wrong or not chosen:
            raise BadInputError(
                f"channel {wrong[0] if wrong else 'list ()'} is out of range for layer {self.layer.name!r} "
                f"({counted(self.layer.n_maps, 'feature map')})",
                python="net.layers lists them",
                command="`backlight layers MODEL` lists them",
            )
        if box is None:
            mask[:, chosen] = 1
            return mask
        height, width = self.layer.shape[1:] if self.layer.is_spatial else (0, 0)
        if not (0 <= box.top < box.bottom <= height and 0 <= box.left < box.right <= width):
            raise BadInputError(
                f"rows {box.top} to {box.bottom} and columns {box.left} to {box.right} do not lie in "
                f"layer {self.layer.name!r}, which has {height} rows and {width} columns"
            )
        mask[:, chosen, box.top : box.bottom, box.left : box.right] = 1
        return mask


def _numbers(code: Tensor | NDArray[np.generic]) -> Tensor:
    """Return a code as a tensor; an array may have any byte order and strides."""
    if isinstance(code, Tensor):
        return code
    if code.dtype.kind not in "fiub":
        raise BadInputError(f"a code must be an array of real numbers, got one of {code.dtype}")
    # a copy: from_numpy takes neither foreign byte orders nor negative strides
    return torch.from_numpy(np.array(code, np.float64))


def central_box(layer: Layer, size: int) -> Box:
    """Return the central neighbourhood of size x size units; half of an odd margin is rounded down.

    Raises:
        BadInputError: The layer has no rows and columns, or fewer than size.
    """
    if not layer.is_spatial or not 1 <= size <= min(layer.shape[1:]):
        raise BadInputError(
            f"layer {layer.name!r} of shape {'x'.join(map(str, layer.shape))} has no {size} x {size} units in "
            "its middle; choose an earlier layer or fewer units"
        )
    top, left = ((side - size) // 2 for side in layer.shape[1:])
    return Box(top, left, top + size, left + size)


def is_layer_code(net: Network, given: object) -> bool:
    """Return whether what was given is a code rather than an image.

    *Convention*: arrays are codes, but for those of uint8, which are images, as pictures and paths are. A tensor is an
    image where it is of uint8, or has the shape of the network's input (one image, or a batch of one), else a code.
    """
    if isinstance(given, np.ndarray):
        return bool(given.dtype != np.uint8)
    if not isinstance(given, Tensor) or given.dtype == torch.uint8:
        return False
    return bool(tuple(given.shape[-3:]) != net.input_shape)


def one_image(net: Network, image: Images) -> Float[Tensor, "1 c h w"]:
    """Return one image as a batch of inputs.

    Raises:
        BadInputError: There are several, or it does not fit the network.
    """
    batch = net.prepare(image)
    if len(batch) != 1:
        raise BadInputError(f"this takes one image at a time, got {len(batch)}; invert_all takes several")
    return batch


def _known(net: Network, layer: str | Layer) -> Layer:
    # the graph's one input, which has a name of its own there
    (pixels,) = net.module.graph.find_nodes(op="placeholder")
    try:
        found = net.layer(layer)
    except UnknownLayerError:
        if layer not in (pixels.name, "input"):
            raise
        found = None
    if found is None or net.node(found) is pixels:
        raise BadInputError(
            f"layer {str(layer)!r} is the input itself: nothing to invert; choose a later layer"
        )
    return found
