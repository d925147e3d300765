"""Pad evenly: as much above and left of the maps as below and right of them, and no rows that no window reaches.

Either padding that a module puts on one side is spread over both. Or, where the size of the input leaves rows and
columns over at a stride, the input is given a size that leaves none: by repeating its edge pixels, or by resizing it.

*Source*: Alsallakh et al. (2021), Mind the Pad -- CNNs can develop blind spots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from backlight.errors import BadInputError, RemedyError, first_line
from backlight.network import Network
from backlight.network.cut import ancestors
from backlight.network.eager import run_eagerly
from backlight.operators.reading import arguments, operator_name
from backlight.studies.diagnosis.remedies.cutting import copy_of
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.sliding import module_path, sliding_below
from backlight.studies.diagnosis.remedies.wiring import unwrapped
from backlight.text import counted

MODES = ("pad", "resize")
_PADS = ("pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d")
_MOST_ADDED = 64


def pad_evenly(model: nn.Module, net: Network, layer: str | None = None) -> Remedied:
    """Return a copy of a model in which padding that stands on one side of maps is spread over both.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        layer: The layer whose convolution or pool reads the padded maps; None for all of the network.

    Raises:
        RemedyError: There is no such padding, or it cannot be spread: its width is odd, or a function adds it.

    *Convention*: the sizes of all maps stay, and their content moves by half the padding.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.ZeroPad2d((0, 2, 0, 2)), nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
        >>> pad_evenly(model, backlight.capture(model, (3, 8, 8))).model[0].padding
        (1, 1, 1, 1)
    """
    pads = _one_sided(net, layer)
    if not pads:
        place = net.name if layer is None else f"the layer {layer!r}"
        raise RemedyError(f"{place} has no padding on one side alone")
    new = copy_of(unwrapped(model, net))
    for node, widths in pads:
        where = net.where(node)
        even = [sum(widths[i : i + 2]) // 2 for i in (0, 0, 2, 2)]
        if sum(even) != sum(widths):
            raise RemedyError(f"the padding {widths} of {where!r} is odd, and has no two equal halves")
        module: Any = new.get_submodule(module_path(net, node))
        if tuple(getattr(module, "padding", ())) != widths:
            raise RemedyError(
                f"the padding of {where!r} is computed in its module, and not an attribute of it"
            )
        module.padding = tuple(even)
    names = ", ".join(repr(net.where(node)) for node, _ in pads)
    return Remedied(new, "pad evenly", f"padding of {names} spread over both sides")


def one_sided(net: Network, layer: str | None = None) -> list[tuple[str, tuple[int, ...]]]:
    """Return where padding stands on one side of maps alone: the place, and (left, right, top, bottom).

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.ZeroPad2d((0, 2, 0, 2)), nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> one_sided(backlight.capture(model, (3, 8, 8)))
        [('0', (0, 2, 0, 2))]
    """
    return [(net.where(node), widths) for node, widths in _one_sided(net, layer)]


def _one_sided(net: Network, layer: str | None) -> list[tuple[fx.Node, tuple[int, ...]]]:
    """Return the padding in front of convolutions and pools that has other widths on one side than on the other."""
    windows = sliding_below(net, layer, strided=False)
    # of a layer the last one alone: what it is made by
    found = {}
    for own in windows if layer is None else windows[-1:]:
        if own.below.op == "call_function" and operator_name(own.below) in _PADS:
            given = arguments(own.below)
            widths = tuple(given["pad"] if "pad" in given else given["padding"])
            if len(widths) == 4 and (widths[0] != widths[1] or widths[2] != widths[3]):
                found[own.below] = widths
    return list(found.items())


def uneven_windows(net: Network) -> list[tuple[str, tuple[int, int]]]:
    """Return where a stride leaves rows or columns over: the place, and how many of (rows, columns).

    Example:
        >>> import backlight
        >>> net = backlight.capture(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU()), (3, 8, 9))
        >>> uneven_windows(net)
        [('0', (1, 0))]
    """
    sizes = _Sizes(net)
    over = ((own.where, own.left_over(sizes.at(*net.input_shape[1:])[own.node])) for own in sizes.windows)
    return [(where, left) for where, left in over if any(left)]


def even_size(net: Network, mode: str = "pad") -> tuple[int, int]:
    """Return the input size (h, w) nearest to the network's own at which no stride leaves rows or columns over.

    Args:
        net: The captured network.
        mode: `pad` takes no smaller sizes.

    Raises:
        RemedyError: There is none within 64 pixels, or the network takes no other size.

    Example:
        >>> import backlight
        >>> layers = [nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)]
        >>> even_size(backlight.capture(nn.Sequential(*layers), (3, 224, 224)))
        (225, 225)
    """
    sizes, (height, width) = _Sizes(net), net.input_shape[1:]
    found: list[int | None] = [None, None]
    for change in sorted(range(0 if mode == "pad" else -_MOST_ADDED, _MOST_ADDED + 1), key=abs):
        try:
            known = sizes.at(height + change, width + change)
        except RuntimeError:  # too small for a kernel, or a size that the graph holds as a constant
            continue
        over = [own.left_over(known[own.node]) for own in sizes.windows]
        # rows and columns do not depend on each other
        for axis in (0, 1):
            if found[axis] is None and not any(left[axis] for left in over):
                found[axis] = change
    rows, cols = found
    if rows is None or cols is None:
        raise RemedyError(
            f"no input size within {_MOST_ADDED} pixels of {height}x{width} leaves nothing over at every stride"
        )
    return height + rows, width + cols


class _Sizes:
    """The sizes of maps at other input sizes, computed without their values."""

    def __init__(self, net: Network) -> None:
        self._net, self.windows = net, sliding_below(net)
        self._needed = ancestors([own.below for own in self.windows])

    def at(self, height: int, width: int) -> dict[fx.Node, tuple[int, ...]]:
        """Return (h, w) of what each window slides over.

        Raises:
            RuntimeError: The graph cannot be run at that size.
        """
        run = _OnMeta(self._net.module, self._needed)
        run.run(torch.empty(1, self._net.input_shape[0], height, width, dtype=self._net.dtype, device="meta"))
        return {own.node: tuple(run.env[own.below].shape[2:]) for own in self.windows}


class _OnMeta(fx.Interpreter):
    """Runs some nodes of a graph on tensors that have sizes and no values."""

    def __init__(self, module: fx.GraphModule, needed: set[fx.Node]) -> None:
        super().__init__(module, garbage_collect_values=False)
        self._needed = needed

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        return value.to("meta") if isinstance(value, Tensor) else value

    def run_node(self, n: fx.Node) -> Any:
        return super().run_node(n) if n in self._needed or n.op == "placeholder" else None


class EvenInput(nn.Module):
    """A model behind a change of its input's size, at which no stride leaves rows or columns over.

    Args:
        model: The model.
        size: (h, w) that it gets.
        mode: `pad` repeats the edge pixels, on both sides if by more than one; `resize` is bilinear.
    """

    def __init__(self, model: nn.Module, size: Sequence[int], mode: str = "pad") -> None:
        super().__init__()
        self.model, self.size, self.mode = model, (int(size[0]), int(size[1])), mode

    def forward(self, images: Tensor) -> Any:
        """Return what the model returns for images of the even size."""
        if self.mode == "resize":
            return self.model(F.interpolate(images, self.size, mode="bilinear", align_corners=False))
        rows, cols = (after - before for after, before in zip(self.size, images.shape[2:], strict=True))
        # the odd row of an odd number is added below, where the left-over ones were
        widths = (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2)
        return self.model(F.pad(images, widths, mode="replicate"))


def even_input(model: nn.Module, net: Network, mode: str = "pad") -> Remedied:
    """Return a model whose input gets a size at which no stride leaves rows or columns over.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        mode: `pad` repeats the edge pixels and keeps each pixel as it is; `resize` keeps what the image shows.

    Raises:
        BadInputError: There is no such mode.
        RemedyError: No stride leaves anything over, or the network takes no other size.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU()).eval()
        >>> even_input(model, backlight.capture(model, (3, 8, 8))).done
        'input padded from 8x8 to 9x9 by its edge pixels: nothing is left over at 1 stride'
    """
    if mode not in MODES:
        raise BadInputError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    uneven = uneven_windows(net)
    if not uneven:
        raise RemedyError(f"no stride of {net.name} leaves rows or columns over")
    size = even_size(net, mode)
    new = EvenInput(copy_of(unwrapped(model, net)), size, mode).eval()
    try:
        run_eagerly(new, torch.zeros(1, *net.input_shape, device=net.device, dtype=net.dtype))
    except Exception as error:
        raise RemedyError(
            f"{net.name} takes no input of {size[0]}x{size[1]}, at which nothing would be left over "
            f"({first_line(error)})"
        ) from error
    before, after = ("x".join(map(str, own)) for own in (net.input_shape[1:], size))
    how = (
        f"padded from {before} to {after} by its edge pixels"
        if mode == "pad"
        else f"resized from {before} to {after}"
    )
    return Remedied(
        new, f"even input ({mode})", f"input {how}: nothing is left over at {counted(len(uneven), 'stride')}"
    )
