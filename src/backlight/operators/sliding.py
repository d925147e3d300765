"""Windows that slide over the image, and statistics of it: rules of the receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from torch import fx

from backlight.operators.paths import aten, operator_name, packet
from backlight.operators.spread import Spread, Window, arguments, contracted, rule, sizes_of

_PADS = {aten.pad, aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d}
_MIRRORS = {"constant": 0, "reflect": 2, "reflection": 2, "replicate": 1, "replication": 1}
_LARGEST_EXACT_SCALE = 32  # float32 finds every source index of a nearest upsampling; the first miss is at 41
_WITHOUT_MEAN = {aten.rms_norm}


@rule("group_norm native_group_norm instance_norm layer_norm native_layer_norm rms_norm _fused_rms_norm")
def _normalisation(node: fx.Node, spread: Spread) -> Spread:
    """Mix what the mean is taken over: its subtraction stays in the backward pass, only the scale is held fixed.

    Without a mean (rms_norm) the field stays; that its factor sees more is noted.
    """
    given = arguments(node)
    if not given.get("use_input_stats", True):
        return spread
    shape = given.get("normalized_shape")
    if shape and len(shape) == 1 and spread.roles[-1] == "" and "c" not in spread.roles:
        spread = replace(spread, roles=(*spread.roles[:-1], "c"))  # as its definition says
    mixed = spread.averaged(range(len(spread.roles))[-len(shape) if shape else 1 :])
    if packet(node) not in _WITHOUT_MEAN:
        return mixed
    spans = (mixed.rows, mixed.cols) != (spread.rows, spread.cols)
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

    A mirrored border below shows nothing new to a kernel that reaches as far in: its allowance is undone.
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
    """Follow windows from floor(i * in / out) to ceil((i + 1) * in / out); one alone is the whole image."""
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


@rule("im2col")
def _patches(node: fx.Node, spread: Spread) -> Spread:
    """Follow `F.unfold`: patches in a row, each with its channels and cells as channels."""
    given = arguments(node)
    spread = _slide(spread, _kernel_windows(node, given["kernel_size"]))
    grid = _patch_grid(given, sizes_of(node.args[0])[-2:])
    if spread.roles[-2:] != ("h", "w"):
        return spread.with_roles((*spread.roles[:-3], "c", ""))
    return spread.with_grid(grid).with_roles((*spread.roles[:-3], "c", "hw"))


@rule("col2im")
def _patches_put_back(node: fx.Node, spread: Spread) -> Spread:
    """Follow `F.fold`: patches are added where they lie; of patches in another order that is anywhere."""
    given, roles = arguments(node), (*spread.roles[:-2], "c", "h", "w")
    grid = _patch_grid(given, given["output_size"])
    if spread.roles[-2:] != ("c", "hw") or grid not in spread.grids:
        return spread.with_roles("" for _ in roles).with_roles(roles)
    windows = _kernel_windows(node, given["kernel_size"], transposed=True)
    return _slide(replace(spread, roles=roles), windows)


def _patch_grid(given: dict[str, Any], size: Sequence[int]) -> tuple[int, int]:
    """Return how many patches there are above each other and side by side."""
    options = zip(
        size, *(_per_axis(given[k], 2) for k in ("kernel_size", "dilation", "padding", "stride")), strict=True
    )
    rows, cols = ((length + 2 * p - d * (k - 1) - 1) // s + 1 for length, k, d, p, s in options)
    return rows, cols
