"""The picture of a tree: one activation, and the activations of the layers below that it is made of.

*Source*: Zeiler, Taylor & Fergus (2011), Fig. 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from backlight.adaptive.decomposition import Branch, strongest_activations, tree
from backlight.adaptive.inference import Codes
from backlight.adaptive.net import AdaptiveDeconvNet
from backlight.adaptive.sheets import GAP, Panel, framed, pixels
from backlight.errors import BadInputError
from backlight.render import DEFAULT_SCALING, Tile, draw_projection
from backlight.render.figure import CELL_GAP, cell_grid, marks
from backlight.render.page import WHITE, Frame, below, beside, grid_columns, headed, page

_SIZE, _ROW_GAP, _LEFT_GAP = 180, 20, 36


def tree_picture(
    net: AdaptiveDeconvNet, image: Tensor, codes: Codes, branching: int = 5, layer: int | None = None
) -> Image.Image:
    """Return the strongest activation of a layer, and the 5, 25 and 125 that it is made of, a row for each layer.

    Args:
        net: The network.
        image: (c, h, w) prepared.
        codes: Its codes, and no others.
        branching: Number of parts of each activation.
        layer: From 2, since layer 1 has no parts; None for the last layer that has codes.

    Raises:
        BadInputError: Several images, layer 1, or no activation in the layer.

    Example:
        >>> from dataclasses import replace
        >>> from backlight.adaptive import PRESETS, LayerConfig
        >>> config = replace(PRESETS["small"], layers=(PRESETS["small"].layers[0], LayerConfig(8, 5, weight=9.0)))
        >>> net, images = AdaptiveDeconvNet(config), torch.randn(1, 1, 64, 64)
        >>> tree_picture(net, images[0], net.infer(images)).mode
        'RGB'
    """
    layer = len(codes.layers) if layer is None else layer
    if len(codes) != 1 or layer < 2 or branching < 1:
        raise BadInputError(
            f"a tree takes one image, a layer from 2 up and at least 1 part each, "
            f"got {len(codes)}, layer {layer} and {branching}"
        )
    found = strongest_activations(codes[layer].maps[0], layer, 1)
    if not found:
        raise BadInputError(f"layer {layer} has no activation, so there is no tree; try a lower layer")
    with torch.no_grad():
        root = tree(net.filters, codes, found[0], branching)
    rows, tiles = [_first_row(net, image, codes, root)], []
    for depth in range(1, layer):
        if root.level(depth):
            # a column for each part of the root: at depth 1 the part itself, deeper what that is made of
            columns = [[_tile(net, branch) for branch in part.level(depth - 1)] for part in root.parts]
            rows.append(_row(root, depth, columns))
            tiles += [tile for column in columns for tile in column]
    own = root.activation
    title = f"What an activation of layer {layer} is made of"
    subtitle = f"map {own.channel}, row {own.row}, column {own.col}, value {own.value:.3g}: the strongest of the image"
    return page([below(rows, _ROW_GAP)], Frame(title, subtitle, f"{_legend(layer)} {marks(tiles)}"))


def _legend(layer: int) -> str:
    below = (
        "" if layer == 2 else f" A column holds one activation of layer {layer - 1} and what that is made of."
    )
    return (
        f"Left: the activation of layer {layer} run down to the pixels, and below it the strongest activations that it "
        "puts into each lower layer, each with the value that it has there, superposed. Right: those one by one, each "
        f"cut to its receptive field.{below} Each picture is scaled {DEFAULT_SCALING.caption}; white is brighter than "
        "its surroundings, black darker."
    )


def _first_row(net: AdaptiveDeconvNet, image: Tensor, codes: Codes, root: Branch) -> Image.Image:
    """Return the activation alone, the image, and the reconstructions from all of its layer and all of layer 1."""
    layer = root.activation.layer
    alone = framed(Panel(pixels(root.projection), f"layer {layer}", "1 activation"), _SIZE)
    others = [Panel(pixels(image), "input")]
    for own in (layer, 1):
        count = int(codes[own].pooled.count_nonzero())
        others.append(
            Panel(pixels(net.reconstruct(codes, own)[0]), f"layer {own}", f"all {count} activations")
        )
    return beside([alone, beside([framed(panel, _SIZE) for panel in others], GAP)], _LEFT_GAP)


def _row(root: Branch, depth: int, tiles: Sequence[Sequence[Tile]]) -> Image.Image:
    """Return the activations of one level: superposed, and one by one below the part of the root they belong to."""
    layer = root.activation.layer - depth
    branches = root.level(depth)
    added = torch.stack([branch.projection for branch in branches]).sum(0)
    caption = "1 activation" if len(branches) == 1 else f"{len(branches)} activations"
    superposed = framed(Panel(pixels(added), f"layer {layer}", caption), _SIZE)
    columns = [_column(own, part, depth == 1) for own, part in zip(tiles, root.parts, strict=True)]
    return beside([superposed, beside(columns, GAP)], _LEFT_GAP)


def _column(tiles: Sequence[Tile], part: Branch, is_itself: bool) -> Image.Image:
    """Return one part of the root, or its own parts at a level, in a square grid of the same width."""
    columns = grid_columns(len(tiles))
    # the grid's frame takes a pixel on either side
    size = (_SIZE - 2 - (columns - 1) * CELL_GAP) // columns
    cells = cell_grid([draw_projection(tile, size) for tile in tiles], max(len(tiles), 1), size)
    result = Image.new("RGB", (_SIZE, cells.height), WHITE)
    result.paste(cells, (0, 0))
    if not is_itself:
        return headed(result, "", f"{len(tiles)} below map {part.activation.channel}")
    own = part.activation
    return headed(result, f"map {own.channel}", f"{own.value:.3g} at {own.row}, {own.col}")


def _tile(net: AdaptiveDeconvNet, branch: Branch) -> Tile:
    """Return an activation's projection, cropped to its receptive field; the patch, which is not drawn, is black."""
    own = branch.activation
    box = net.config.receptive_field(own.layer).box(own.row, own.col)
    height, width = branch.projection.shape[1:]
    projection = pixels(branch.projection)[box.clip(height, width).slices()]
    patch = np.zeros((*projection.shape[:2], 3), np.uint8)
    return Tile(patch, projection, box, (height, width))
