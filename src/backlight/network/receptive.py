"""Receptive fields: which pixels a unit of any layer can see, by exact arithmetic over the captured graph.

Every operator has a small rule that says how the dimensions and intervals of its input become those of its
output. A field always contains what the unit sees; where that cannot be told along an axis, it is the whole
image.

*Source*: the arithmetic of Araujo et al., *Computing Receptive Fields of Convolutional Neural Networks* (2019).
*Differs*: an interval for each axis, so that branches that are not aligned give their union and no error.
*Differs*: the field of a gated product is that of its signal; `gates_ignored` says that a factor sees more.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import fx

from backlight.geometry import Axis, ReceptiveField
from backlight.network.dimensions import (
    RULES,
    Spread,
    Spreads,
    Window,
    arguments,
    contracted,
    joined,
    rule,
    sizes_of,
    stretched,
)
from backlight.network.operators import (
    ATTENTION,
    PathAnalysis,
    all_operands,
    operator_name,
    packet,
    shape_of,
)

__all__ = ["Spread", "receptive_field", "trace_spreads"]

aten = torch.ops.aten
_PRODUCTS = ATTENTION | {aten.matmul, aten.mm, aten.bmm, aten.addmm, aten.baddbmm}
_BUNDLES = {aten.cat, aten.concat, aten.concatenate, aten.stack, aten.slice_scatter}
_PADS = {aten.pad, aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d}
_MIRRORS = {"constant": 0, "reflect": 2, "reflection": 2, "replicate": 1, "replication": 1}
_LARGEST_EXACT_SCALE = 32  # float32 finds every source index of a nearest upsampling; the first miss is at 41


def receptive_field(spread: Spread) -> ReceptiveField | None:
    """Return the receptive field of a layer; None where it is the whole image along an axis."""
    if spread.rows is None or spread.cols is None:
        return None
    return ReceptiveField(spread.rows, spread.cols, spread.gates_ignored)


def trace_spreads(graph: fx.Graph, analysis: PathAnalysis) -> dict[fx.Node, Spread]:
    """Return the spread of every node that carries a signal in one tensor.

    Args:
        graph: A captured graph whose placeholder holds a batch of images (n, c, h, w).
        analysis: The analysis of the same graph.

    Example:
        >>> from backlight.network.capture import export_graph
        >>> graph = export_graph(torch.nn.Conv2d(3, 8, 5, stride=2, padding=1), torch.zeros(1, 3, 32, 32)).graph
        >>> image, conv = trace_spreads(graph, PathAnalysis(graph)).values()
        >>> receptive_field(conv).box(0, 1)
        Box(top=-1, left=1, bottom=4, right=6)
    """
    found: dict[fx.Node, Spreads] = {}
    for node in graph.nodes:
        if node in analysis.dependent and node.op != "output":
            found[node] = _follow(node, analysis, found)
    return {n: s for n, s in found.items() if isinstance(s, Spread) and shape_of(n) is not None}


def _follow(node: fx.Node, analysis: PathAnalysis, found: dict[fx.Node, Spreads]) -> Spreads:
    """Return the spread of a node from the spreads of its operands."""
    operands = {n: s for n in all_operands(node) if isinstance(s := found.get(n), Spread)}
    signals = {n: operands[n] for n in analysis.signal_inputs(node) if n in operands}
    result: Spreads
    if node.op == "placeholder":
        return _pixels(node)
    if node.target is operator.getitem:
        whole, index = found[node.args[0]], node.args[1]  # type: ignore[index]
        result = whole[index] if isinstance(whole, tuple) else whole  # type: ignore[index]
    elif not signals or 0 in sizes_of(node):
        result = _unknown(node, operands.values())
    else:
        result = _apply_rule(node, signals, operands)
    if shape_of(node) is not None and isinstance(result, Spread) and len(result.roles) != len(sizes_of(node)):
        return _unknown(node, operands.values())
    return result


def _apply_rule(node: fx.Node, signals: dict[fx.Node, Spread], operands: dict[fx.Node, Spread]) -> Spreads:
    target = packet(node)
    if _is_pointwise(node):
        aligned = {n: stretched(s, sizes_of(n), sizes_of(node)) for n, s in operands.items()}
        return _gated([aligned[n] for n in signals], [s for n, s in aligned.items() if n not in signals])
    if target in _PRODUCTS:
        return _product(node, signals, operands)
    if target in _BUNDLES:
        return _bundle(node, signals)
    if target in RULES and len(signals) == 1:
        result = RULES[target](node, *signals.values())
        if len(operands) > 1 and isinstance(result, Spread):  # weights made from the image
            return _gated([result], [result.with_roles("" for _ in result.roles)])
        return result
    return _unknown(node, signals.values())


def _pixels(node: fx.Node) -> Spread:
    pixel, rank = Axis(1, Fraction(1), 0), len(sizes_of(node))
    roles = ("n", "c", "h", "w") if rank == 4 else ("n", *[""] * (rank - 1))
    return Spread(roles, pixel, pixel).with_roles(roles)


def _unknown(node: fx.Node, spreads: Iterable[Spread]) -> Spreads:
    """Return the cautious answer: every entry sees the whole image; the first dimension is the batch."""
    value, ignored = node.meta.get("val"), any(s.gates_ignored for s in spreads)
    values = value if isinstance(value, (tuple, list)) else [value]
    ranks = [v.dim() if isinstance(v, torch.Tensor) else 0 for v in values]
    answers = tuple(Spread(("n", *[""] * (rank - 1))[:rank], None, None, ignored) for rank in ranks)
    return answers if isinstance(value, (tuple, list)) else answers[0]


_POINTWISE_UNTAGGED = {aten.max.other, aten.min.other, aten.leaky_relu.default}
"""The last is tagged by newer torch only (not by 2.9 and 2.10)."""


def _is_pointwise(node: fx.Node) -> bool:
    target: Any = node.target
    return torch.Tag.pointwise in getattr(target, "tags", ()) or target in _POINTWISE_UNTAGGED


def _gated(signals: list[Spread], factors: list[Spread]) -> Spread:
    """Return the union of signals, and whether any factor that scales them sees pixels outside it."""
    union = joined(signals)
    axes = union.rows, union.cols
    unions = [joined([union, factor]) for factor in factors if axes != (None, None)]
    ignored = any(both.gates_ignored or (both.rows, both.cols) != axes for both in unions)
    return replace(union, gates_ignored=union.gates_ignored or ignored)


# --- several signals ----------------------------------------------------------------------------------------


def _bundle(node: fx.Node, signals: dict[fx.Node, Spread]) -> Spreads:
    """Follow cat, stack, and assignment to a slice: what does not fill its dimension was moved along it."""
    dim, rank = arguments(node)["dim"], len(sizes_of(node))
    if packet(node) is aten.stack:
        dim %= rank
        spreads = [s.with_roles((*s.roles[:dim], "c", *s.roles[dim:])) for s in signals.values()]
    else:
        full = sizes_of(node)[dim]
        moved = [n for n in signals if len(sizes_of(n)) == rank and sizes_of(n)[dim] != full]
        spreads = [s.mixed([dim]) if n in moved else s for n, s in signals.items()]
    return joined(spreads) if all(len(s.roles) == rank for s in spreads) else _unknown(node, spreads)


def _product(node: fx.Node, signals: dict[fx.Node, Spread], operands: dict[fx.Node, Spread]) -> Spreads:
    """Follow left @ right: the contracted dimension is mixed, the others keep their places."""
    fused, target = packet(node) in ATTENTION, sizes_of(node)
    args: Any = node.args[1:] if packet(node) in (aten.addmm, aten.baddbmm) else node.args
    left, right = args[0], args[2 if fused else 1]  # fused: (weights of query and key) @ value
    ranks = [len(target), len(sizes_of(left)), len(sizes_of(right))]
    if min(ranks) < 2 or not signals.keys() <= {left, right}:
        return _unknown(node, signals.values())
    kept: list[Spread] = []
    held: list[Spread] = []
    for place, operand, other in ((-1, left, right), (-2, right, left)):
        if operand in operands:
            spread = contracted(operands[operand], place, operands.get(other))
            spread = stretched(spread, (*sizes_of(operand)[:-2], *target[-2:]), target)
            (kept if operand in signals and not (fused and place == -1) else held).append(spread)
    if fused and args[1] in operands:  # every weight comes of all entries of all keys
        keys = operands[args[1]]
        keys = keys.with_roles((*keys.roles[:-2], "", ""))
        held.append(stretched(keys, (*sizes_of(args[1])[:-2], *target[-2:]), target))
    return _gated(kept, held)


# --- windows over the image ---------------------------------------------------------------------------------


@rule("group_norm native_group_norm instance_norm layer_norm native_layer_norm rms_norm _fused_rms_norm")
def _normalisation(node: fx.Node, spread: Spread) -> Spread:
    """Keep the field: the statistics are the factor of a gate, noted where they span rows or columns."""
    given = arguments(node)
    if not given.get("use_input_stats", True):
        return spread
    shape = given.get("normalized_shape")
    held = spread.mixed(range(len(spread.roles))[-len(shape) if shape else 1 :])
    spans = (held.rows, held.cols) != (spread.rows, spread.cols)
    return replace(spread, gates_ignored=spread.gates_ignored or spans)


@rule("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution")
def _convolution(node: fx.Node, spread: Spread) -> Spread:
    given = arguments(node)
    kernel = sizes_of(given["weight"])[2:]
    spread = contracted(spread, -len(kernel) - 1)
    transposed = given.get("transposed", "transpose" in operator_name(node))
    return _slide(spread, _kernel_windows(node, kernel, transposed))


@rule("avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices")
def _pool(node: fx.Node, spread: Spread) -> Spread:
    return _slide(spread, _kernel_windows(node, _per_axis(arguments(node)["kernel_size"], _n_axes(node))))


def _slide(spread: Spread, windows: list[Window]) -> Spread:
    """Slide one window along each of the last dimensions."""
    for place, window in enumerate(windows, start=-len(windows)):
        spread = spread.windowed(place, window)
    return spread


def _n_axes(node: fx.Node) -> int:
    """Return 2 for `avg_pool2d`."""
    return next(int(letter) for letter in operator_name(node) if letter.isdigit())


def _per_axis(value: Any, n_axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * n_axes if len(values) == 1 else values


def _kernel_windows(node: fx.Node, kernel: Sequence[int], transposed: bool = False) -> list[Window]:
    """Return the window of a convolution or pooling along each of its axes.

    A mirrored border below shows nothing new to a kernel thatreaches as far in: its allowance is undone.
    """
    given, n_axes, windows = arguments(node), len(kernel), []
    dilations = _per_axis(given.get("dilation", 1), n_axes)
    reaches = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    named = {"same": [reach // 2 for reach in reaches], "valid": [0]}
    pads = _per_axis(named.get(str(given["padding"]), given["padding"]), n_axes)
    strides = _per_axis(given["stride"] or kernel, n_axes)
    below: Any = node.args[0]
    borders, mirror = _borders(below) if packet(below) in _PADS else ({}, 0)
    for place, (stride, pad, reach) in enumerate(zip(strides, pads, reaches, strict=True), start=-n_axes):
        before, after = (mirror * max(width, 0) for width in borders.get(place, (0, 0)))
        if transposed:
            windows.append(Window(Fraction(1, stride), Fraction(pad - reach, stride), Fraction(pad, stride)))
        elif reach - pad >= max(before, after):
            windows.append(Window(stride, after - pad, reach - pad - before))
        else:
            windows.append(Window(stride, -pad, reach - pad))
    return windows


def _borders(node: fx.Node) -> tuple[dict[int, tuple[int, int]], int]:
    """Return the border before and after each place (-1: the last), and how far inwards its pixels repeat.

    That is in widths of the border: 0 for a constant, 1 for a replicated edge, 2 for a reflection; else -1.
    """
    given = arguments(node)
    widths: Any = given.get("pad", given.get("padding"))
    mode = given.get("mode") or operator_name(node).partition("_")[0]
    pairs = enumerate(zip(widths[::2], widths[1::2], strict=True), start=1)
    return {-place: pair for place, pair in pairs}, _MIRRORS.get(mode, -1)


@rule("pad constant_pad_nd reflection_pad2d replication_pad2d")
def _pad(node: fx.Node, spread: Spread) -> Spread:
    borders, mirror = _borders(node)
    for place, (before, after) in borders.items():
        if mirror < 0 and (before or after):  # circular: the border shows the other end
            spread = spread.mixed([place])
        left, right = (mirror * max(width, 0) for width in (before, after))
        spread = spread.windowed(place, Window(1, -before - right, -before + left))
    return spread


def _resized_axes(node: fx.Node) -> list[tuple[int, int, int]]:
    """Return each image axis of a resizing operator: its place, its size before and its size after."""
    before, after = sizes_of(node.args[0]), sizes_of(node)
    return [(place, before[place], after[place]) for place in range(-_n_axes(node), 0)]


@rule("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d")
def _adaptive_pool(node: fx.Node, spread: Spread) -> Spread:
    """Follow windows fromfloor(i * in / out) to ceil((i + 1) * in / out); one alone is the whole image."""
    for place, before, after in _resized_axes(node):
        step = Fraction(before, after)
        remainder = 1 - Fraction(1, step.denominator)
        spread = spread.mixed([place]) if after == 1 < before else spread
        spread = spread.windowed(place, Window(step, -remainder, step - 1 + remainder))
    return spread


@rule(
    "upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d"
    " _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
)
def _resize(node: fx.Node, spread: Spread) -> Spread:
    """Follow a resizing by a whole factor; by any other, the axis becomes the whole image."""
    given, name = arguments(node), operator_name(node)
    scales = given.get("scale_factors") or [given.get("scales_h"), given.get("scales_w")]
    for (place, before, after), scale in zip(_resized_axes(node), scales, strict=True):
        step, grows = Fraction(before, after), after % before == 0
        whole = grows or (before % after == 0 and not name.endswith("aa"))
        inexact = after > _LARGEST_EXACT_SCALE * before or (scale and scale * before != after)
        if before == after:
            continue
        if not whole or inexact or given.get("align_corners"):
            spread = spread.mixed([place])
        elif "nearest" in name:
            middle = int(step) // 2 if "exact" in name else 0
            window = Window(step, step - 1, 0) if grows else Window(step, middle, middle)
            spread = spread.windowed(place, window)
        else:
            reach = 2 if "bicubic" in name else 1
            spread = spread.windowed(place, Window(step, (step - 1) / 2 - reach, (step - 1) / 2 + reach))
    return spread


@rule("pixel_shuffle pixel_unshuffle")
def _shuffle_pixels(node: fx.Node, spread: Spread) -> Spread:
    factor: Any = node.args[1]
    if operator_name(node) == "pixel_unshuffle":
        return _slide(spread, [Window(factor, 0, factor - 1)] * 2)
    return _slide(spread, [Window(Fraction(1, factor), Fraction(1, factor) - 1, 0)] * 2)
