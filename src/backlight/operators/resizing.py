"""Resizing: maps of another height and width, from neighbours, from channels, or from patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators.convolution import kernel_windows
from backlight.operators.fields import of_one_signal, unchanged
from backlight.operators.kinds import linear_in_first
from backlight.operators.operator import Field, Operator, Origin, examples_of, named
from backlight.operators.pooling import resized_axes
from backlight.operators.reading import arguments, as_list, aten, operator_name, sizes_of
from backlight.operators.spread import Spread, Window, slide

_LARGEST_EXACT_SCALE = 32  # float32 finds every source index of a nearest upsampling; the first miss is at 41


def _resize(node: fx.Node, spread: Spread) -> Spread:
    """The neighbours that it is made of, if an axis is resized by a whole factor; else the whole image along it."""
    given, name = arguments(node), operator_name(node)
    # The scale that torch was given, if any: it computes source indices from it, not from the ratio of the sizes.
    scales = given.get("scale_factors") or [given.get("scales_h"), given.get("scales_w")]
    for (place, before, after), scale in zip(resized_axes(node), scales, strict=True):
        step, grows = Fraction(before, after), after % before == 0
        # An antialiased kernel gets wider as the map shrinks, and reads more than the neighbours counted below.
        whole = grows or (before % after == 0 and not name.endswith("aa"))
        inexact = after > _LARGEST_EXACT_SCALE * before or (scale and scale * before != after)
        if before == after:
            continue
        if not whole or inexact or given.get("align_corners"):
            spread = spread.mixed([place])
        elif "nearest" in name:
            # Growing, index i reads floor(i * step), which is at most 1 - step below i * step. Shrinking, it reads the
            # first of its `step` inputs; the exact kind, which samples at cells' centres, the middle one.
            middle = int(step) // 2 if "exact" in name else 0
            window = Window(step, step - 1, 0) if grows else Window(step, middle, middle)
            spread = spread.windowed(place, window)
        else:
            # Cells' centres lie at i + 1/2, so index i is at (i + 1/2) * step - 1/2 in the input, between so many
            # neighbours on either side.
            reach = 2 if "bicubic" in name else 1
            spread = spread.windowed(place, Window(step, (step - 1) / 2 - reach, (step - 1) / 2 + reach))
    return spread


def _shuffle_pixels(node: fx.Node, spread: Spread) -> Spread:
    """What the pixels of its block see: a block becomes channels, or comes from them."""
    # Unshuffle: (c, h·f, w·f) -> (c·f·f, h, w), index i holds pixels i * f to i * f + f - 1; shuffle is its inverse.
    factor: Any = node.args[1]
    if operator_name(node) == "pixel_unshuffle":
        return slide(spread, [Window(factor, 0, factor - 1)] * 2)
    return slide(spread, [Window(Fraction(1, factor), Fraction(1, factor) - 1, 0)] * 2)


def _patches(node: fx.Node, spread: Spread) -> Spread:
    """What the patch covers there; the patches stand in a row, each with its channels and cells as channels."""
    given = arguments(node)
    # (n, c, h, w) -> (n, c * kh * kw, rows * cols), the patches read row by row: "hw" remembers their grid.
    spread = slide(spread, kernel_windows(node, given["kernel_size"]))
    grid = _patch_grid(given, sizes_of(node.args[0])[-2:])
    if spread.roles[-2:] != ("h", "w"):  # patches of something else than an image's rows and columns
        return spread.with_roles((*spread.roles[:-3], "c", ""))
    return spread.with_grid(grid).with_roles((*spread.roles[:-3], "c", "hw"))


def _patches_put_back(node: fx.Node, spread: Spread) -> Spread:
    """What the patches that lie there see; the whole image if their order was changed."""
    # (n, c * kh * kw, rows * cols) -> (n, c, h, w), overlapping patches added: the transpose of taking them apart.
    given, roles = arguments(node), (*spread.roles[:-2], "c", "h", "w")
    grid = _patch_grid(given, given["output_size"])
    if spread.roles[-2:] != ("c", "hw") or grid not in spread.grids:
        # The roles are sure by definition; passing through "" makes both axes the whole image.
        return spread.with_roles("" for _ in roles).with_roles(roles)
    windows = kernel_windows(node, given["kernel_size"], transposed=True)
    return slide(replace(spread, roles=roles), windows)


def _patch_grid(given: dict[str, Any], size: Sequence[int]) -> tuple[int, int]:
    """Return how many patches there are above each other and side by side."""
    options = zip(
        size, *(as_list(given[k], 2) for k in ("kernel_size", "dilation", "padding", "stride")), strict=True
    )
    # as many as a convolution with this kernel has outputs
    rows, cols = ((length + 2 * p - d * (k - 1) - 1) // s + 1 for length, k, d, p, s in options)
    return rows, cols


def _resizing(
    names: str, *functions: Callable[[Tensor], Tensor], field: Field | None = None, gives_maps: bool = True
) -> Operator:
    return Operator(
        named(names),
        kind=linear_in_first,
        origin=Origin.ENTRIES,
        field=field,
        gives_maps=gives_maps,
        examples=examples_of(*functions),
    )


def _to(size: int, mode: str, **more: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.interpolate(x, size=(size, size), mode=mode, **more)


OPERATORS = (
    _resizing(
        "upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d",
        _to(24, "nearest"),
        _to(4, "nearest-exact"),
        _to(24, "bilinear"),
        _to(17, "bilinear", align_corners=True),
        _to(24, "bicubic"),
        field=of_one_signal(_resize),
    ),
    _resizing(
        "_upsample_bilinear2d_aa _upsample_bicubic2d_aa",
        _to(5, "bilinear", antialias=True),
        _to(5, "bicubic", antialias=True),
        field=of_one_signal(_resize),
    ),
    _resizing(
        "upsample_nearest1d _upsample_nearest_exact1d upsample_linear1d",
        lambda x: F.interpolate(x[:, :, 0], size=24, mode="nearest"),
        lambda x: F.interpolate(x[:, :, 0], size=24, mode="nearest-exact"),
        lambda x: F.interpolate(x[:, :, 0], size=24, mode="linear"),
        gives_maps=False,
    ),
    _resizing(
        "pixel_shuffle pixel_unshuffle",
        lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
        field=of_one_signal(_shuffle_pixels),
    ),
    _resizing("channel_shuffle", lambda x: aten.channel_shuffle.default(x, 3), field=unchanged),
    _resizing("im2col", lambda x: F.unfold(x, 3, 1, 1, 2), field=of_one_signal(_patches), gives_maps=False),
    _resizing(
        "col2im",
        lambda x: F.fold(F.unfold(x, 3, 1, 1, 2), (12, 12), 3, 1, 1, 2),
        field=of_one_signal(_patches_put_back),
    ),
)
