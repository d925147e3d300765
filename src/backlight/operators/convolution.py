"""Convolutions: products with weights that slide over maps."""

from __future__ import annotations

from collections.abc import Sequence, Set
from fractions import Fraction
from typing import Any

import torch.nn.functional as F
from torch import fx

from backlight.operators import local, products
from backlight.operators.adjoint import ON_WHOLE_MAPS, Adjoint, Below, Walk
from backlight.operators.factors import holds_weights
from backlight.operators.fields import of_one_signal
from backlight.operators.operator import Example, Operator, Origin
from backlight.operators.padding import mirrored_border
from backlight.operators.reading import (
    arguments,
    as_list,
    aten,
    operator_name,
    options_of,
    shape_of,
    sizes_of,
)
from backlight.operators.spread import Spread, Window, contracted, slide
from backlight.operators.windows import Axes, Windows, in_order


def convolution_options(node: fx.Node) -> dict[str, Any]:
    """Return stride, padding, dilation (each a pair) and groups of a two-dimensional convolution."""
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options_of(node, node.args, node.kwargs)
    return {k: as_list(given[k], 2) for k in ("stride", "padding", "dilation")} | {"groups": given["groups"]}


# --- the field ------------------------------------------------------------------------------------------------


def kernel_windows(node: fx.Node, kernel: Sequence[int], transposed: bool = False) -> list[Window]:
    """Return what an output of a convolution or pooling reads along each of its axes.

    *Convention*: a mirrored border below shows nothing new to a kernel that reaches as far in: its allowance is undone.
    """
    given, n_axes, windows = arguments(node), len(kernel), []
    dilations = as_list(given.get("dilation", 1), n_axes)
    reaches = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    # "same" splits the padding evenly; where the reach is odd, the one cell more is behind the map.
    by_name = {"same": [reach // 2 for reach in reaches], "valid": [0]}
    pads = as_list(by_name.get(str(given["padding"]), given["padding"]), n_axes)
    strides = as_list(given["stride"] or list(kernel), n_axes)
    borders = mirrored_border(node.args[0])
    for place, (stride, pad, reach) in enumerate(zip(strides, pads, reaches, strict=True), start=-n_axes):
        before, after = borders.get(place, (0, 0))
        if transposed:
            # Input j writes to outputs j * stride - pad to j * stride - pad + reach; solved for j, output i reads
            # (i + pad - reach) / stride to (i + pad) / stride.
            windows.append(Window(Fraction(1, stride), Fraction(pad - reach, stride), Fraction(pad, stride)))
        elif reach - pad >= max(before, after):
            # Below, each index of the padded map was allowed `before` pixels more at its end and `after` more at its
            # start, for the mirror images. A kernel this long reads their originals anyway: both are taken off again.
            windows.append(Window(stride, after - pad, reach - pad - before))
        else:  # output i reads inputs i * stride - pad to i * stride - pad + reach
            windows.append(Window(stride, -pad, reach - pad))
    return windows


def _slide_kernel(node: fx.Node, spread: Spread) -> Spread:
    """What the kernel covers there, by stride, padding and dilation."""
    given = arguments(node)
    kernel = sizes_of(given["weight"])[2:]  # (out, in / groups, kh, kw) -> (kh, kw), of any rank
    transposed = given.get("transposed", "transpose" in operator_name(node))
    # Channels, just before the axes that the kernel slides along, are summed over, and filters take their place.
    return slide(contracted(spread, -len(kernel) - 1), kernel_windows(node, kernel, transposed))


# --- the backward pass ----------------------------------------------------------------------------------------


def on_maps(signal: Windows, node: fx.Node, walk: Walk) -> Windows:
    """Return the signal on windows along the last two of four dimensions, where filters slide; else on whole maps."""
    slides = [dim for dim, _ in signal.axes] == [2, 3]
    return signal if slides else signal.whole(walk.record.shapes[node])


def moved(axes: Axes, stride: Sequence[int], padding: Sequence[int]) -> Axes:
    """Return where windows begin below an operator whose own windows slide with that stride and padding.

    Output cell i reads the input cells from i * stride - padding on.
    """
    return tuple((dim, starts * stride[i] - padding[i]) for i, (dim, starts) in enumerate(axes))


def _transpose_filters(node: fx.Node, signal: Windows, walk: Walk) -> Below:
    """Filter with the transposed weights: each value goes to all cells that its filter reads."""
    below: Any = node.args[0]
    weight, options = walk.record.values[node.args[1]], convolution_options(node)  # type: ignore[index]
    stride, padding, dilation = options["stride"], options["padding"], options["dilation"]
    shape, signal = walk.record.shapes[below], on_maps(signal, node, walk)
    if signal.covers(walk.record.shapes[node]):
        # Whole maps: the transposed convolution cuts the padding off itself. `more` adds the rows and columns at the
        # far edge that the stride left over, so that the result has the size of the map below.
        axes, cut = signal.axes, padding
        used = [(signal.data.shape[2 + i] - 1) * stride[i] - 2 * padding[i] for i in (0, 1)]
        more = [shape[2 + i] - used[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1 for i in (0, 1)]
    else:
        # Windows: nothing is cut off; a window that reaches over the map's edge is cleared there by `inside`.
        axes, cut, more = moved(signal.axes, stride, padding), [0, 0], [0, 0]
    groups = options["groups"]
    # The weight (out, in / groups, kh, kw) serves as it is: a transposed convolution takes (its in, its out / groups,
    # kh, kw), and its in is our out. (n, out, kh', kw') -> (n, in, kh, kw).
    data = F.conv_transpose2d(in_order(signal.data), weight, None, stride, cut, more, groups, dilation)
    yield below, Windows(data, axes).inside(shape)


def is_over_images(node: fx.Node, dependent: Set[fx.Node]) -> bool:
    """Return whether a node gives four dimensions (n, c, h, w)."""
    return len(shape_of(node) or ()) == 4


def _slides_over_maps(node: fx.Node, dependent: Set[fx.Node]) -> bool:
    # padding="same" or "valid": torch may pad the two ends differently, which `moved` does not know
    has_numbers = not isinstance(convolution_options(node)["padding"][0], str)
    return products.weights_are_constant(node, dependent) and is_over_images(node, dependent) and has_numbers


# --- the entries ----------------------------------------------------------------------------------------------


def _convolution(
    names: tuple[str, ...],
    *functions: Example,
    adjoint: Adjoint = ON_WHOLE_MAPS,
    gives_maps: bool = False,
) -> Operator:
    return Operator(
        names,
        kind=products.product_kind,
        holds=holds_weights,
        origin=Origin.MIXTURES,
        field=of_one_signal(_slide_kernel),
        gives_maps=gives_maps,
        rule=products.freeze_factors,
        adjoint=adjoint,
        is_local=local.by_definition,
        examples=functions,
    )


OPERATORS = (
    _convolution(
        ("conv2d",),
        Example(lambda x, c: F.conv2d(x, c, stride=2, padding=1), constants=((4, 3, 3, 3),)),
        Example(
            lambda x, c: F.conv2d(x, c, stride=(1, 2), padding=(2, 1), dilation=(2, 1), groups=3),
            constants=((6, 1, 3, 2),),
        ),
        adjoint=Adjoint(_transpose_filters, fits=_slides_over_maps),
        gives_maps=True,
    ),
    _convolution(
        ("conv_transpose2d",),
        Example(
            lambda x, c: F.conv_transpose2d(x, c, stride=2, padding=1, output_padding=1),
            constants=((3, 4, 3, 3),),
        ),
        gives_maps=True,
    ),
    _convolution(
        ("convolution",),
        Example(
            lambda x, c: aten.convolution.default(x, c, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
            constants=((4, 3, 3, 3),),
        ),
        gives_maps=True,
    ),
    _convolution(
        ("conv1d",), Example(lambda x, c: F.conv1d(x[:, :, 0], c, padding=1), constants=((4, 3, 3),))
    ),
    _convolution(
        ("conv3d",), Example(lambda x, c: F.conv3d(x[:, None], c, padding=1), constants=((2, 1, 3, 3, 3),))
    ),
    _convolution(
        ("conv_transpose1d",), Example(lambda x, c: F.conv_transpose1d(x[:, :, 0], c), constants=((3, 4, 3),))
    ),
    _convolution(
        ("conv_transpose3d",),
        Example(lambda x, c: F.conv_transpose3d(x[:, None], c), constants=((1, 2, 3, 3, 3),)),
    ),
)
