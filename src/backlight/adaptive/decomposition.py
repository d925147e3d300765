"""Decompositions: single activations of a layer, each projected to the pixels, and their sum.

*Source*: Zeiler, Taylor & Fergus (2011), Fig. 1 (the tree of activations) and section 3. Since R is linear for given
switches, the projections of some activations add up to the projection of all of them, exactly; those of a deconvnet,
which rectifies in its backward pass, do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.adaptive.inference import Codes
from backlight.adaptive.operators import Reconstruction, paint
from backlight.adaptive.pooling import SwitchMode
from backlight.errors import BadInputError


@dataclass(frozen=True, order=True)
class Activation:
    """One value of a layer's feature maps.

    Attributes:
        layer: From 1.
        channel: The feature map.
        row: Its row in the feature map.
        col: Its column.
        value: Signed.
    """

    layer: int
    channel: int
    row: int
    col: int
    value: float


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The strongest activations of one layer for one image, projected one by one.

    Attributes:
        activations: Strongest first, by magnitude.
        projections: (top, c, h, w) each of them projected to the pixels.
        superposed: (c, h, w) their sum, which is their joint reconstruction.
        whole: (c, h, w) the reconstruction from all activations of the layer.
    """

    activations: tuple[Activation, ...]
    projections: Float[Tensor, "top c h w"]
    superposed: Float[Tensor, "c h w"]
    whole: Float[Tensor, "c h w"]


@dataclass(frozen=True, eq=False)
class Branch:
    """An activation, its projection, and the activations of the layer below that it is made of.

    Attributes:
        activation: The activation itself.
        projection: (c, h, w) its projection to the pixels.
        parts: The strongest activations that it contributes to the layer below; none in layer 1.
    """

    activation: Activation
    projection: Float[Tensor, "c h w"]
    parts: tuple[Branch, ...]

    def level(self, depth: int) -> list[Branch]:
        """Return the branches `depth` layers below: itself for 0, then its parts, then theirs.

        Each deeper level has `branching` times as many, fewer where a branch has fewer parts.
        """
        found = [self]
        for _ in range(depth):
            found = [part for branch in found for part in branch.parts]
        return found


def strongest_activations(maps: Float[Tensor, "k h w"], layer: int, top: int) -> list[Activation]:
    """Return the activations of largest magnitude of one image, strongest first, at most the non-zero ones.

    *Convention*: among equal magnitudes, the lowest channel, row and column comes first.
    """
    flat = maps.flatten()
    # stable: among equal magnitudes the lower flat index, so channel, row, column, stays first
    count = min(top, int(flat.count_nonzero()))
    order = flat.abs().argsort(descending=True, stable=True)[:count].tolist()
    _, height, width = maps.shape
    # flat index i = (channel * height + row) * width + col
    return [
        Activation(layer, i // (height * width), i // width % height, i % width, float(flat[i]))
        for i in order
    ]


def single(
    activations: Sequence[Activation], shape: tuple[int, int, int], like: Tensor
) -> Float[Tensor, "n k h w"]:
    """Return feature maps (n, k, h, w) of zeros with one activation each."""
    maps = like.new_zeros(len(activations), *shape)
    for i, own in enumerate(activations):
        maps[i, own.channel, own.row, own.col] = own.value
    return maps


def decompose(
    filters: Sequence[Tensor], codes: Codes, layer: int, top: int = 3, mode: SwitchMode = "full"
) -> Decomposition:
    """Return the strongest activations of a layer for one image, projected one by one and superposed.

    Args:
        filters: Of layer 1 up.
        codes: Of one image.
        layer: From 1.
        top: Number of activations.
        mode: Which part of the switches the projection uses.

    Raises:
        BadInputError: Several images, no such layer, or a code that is all zero.
    """
    if len(codes) != 1 or top < 1:
        raise BadInputError(
            f"a decomposition takes one image and at least 1 activation, got {len(codes)} and {top}"
        )
    code = codes[layer]
    found = strongest_activations(code.maps[0], layer, top)
    if not found:
        raise BadInputError(
            f"the code of layer {layer} is all zero, so there is no activation to show; "
            "try a larger weight for the layer, or an image with more contrast"
        )
    # R of this layer for this image: linear, so that projections of single activations add up to that of the whole
    own = tuple(filters[:layer])
    projections = Reconstruction(own, codes.below(layer, mode))
    # (top, c, h, w), one by one, since the switches below are those of a batch of one image
    parts = torch.cat([projections(single([one], code.shape, code.pooled)) for one in found])
    return Decomposition(tuple(found), parts, parts.sum(0), projections(code.maps)[0])


def tree(filters: Sequence[Tensor], codes: Codes, activation: Activation, branching: int = 5) -> Branch:
    """Return an activation with its parts, layer by layer to layer 1: the paper's Fig. 1, with 5, 25, 125 branches.

    The activation alone is painted into the layer below and unpooled there; the strongest values that this gives in
    that layer's feature maps are its parts.

    Args:
        filters: Of layer 1 up.
        codes: Of one image.
        activation: Of any layer.
        branching: Number of parts of each.

    Raises:
        BadInputError: Several images, no such layer or place in it, branching below 1.
    """
    if len(codes) != 1 or branching < 1:
        raise BadInputError(
            f"a tree takes one image and at least 1 part of each activation, got {len(codes)} and {branching}"
        )
    layer, shape = activation.layer, codes[activation.layer].shape
    # (k, h, w): the place must lie in the feature maps, not in the pooled ones
    place = activation.channel, activation.row, activation.col
    if not all(0 <= at < length for at, length in zip(place, shape, strict=True)):
        raise BadInputError(
            f"map, row and column {place} are out of range for layer {layer} (maps {shape}, from 0)"
        )
    alone = single([activation], shape, codes[layer].pooled)  # (1, k, h, w)
    projection = Reconstruction(tuple(filters[:layer]), codes.below(layer))(alone)[0]
    if layer == 1:
        return Branch(activation, projection, ())
    # (k, h, w) of the layer below: what the activation paints there, at the places of the image's own switches. Layers
    # count from 1, so that filters[layer - 1] are this layer's own and codes[layer - 1] is the code of the one below.
    conditional = codes[layer - 1].unpooling()(paint(alone, filters[layer - 1]))[0]
    # A part has the value that the activation gives it, not the one that it has in the image's code.
    parts = [
        tree(filters, codes, own, branching)
        for own in strongest_activations(conditional, layer - 1, branching)
    ]
    return Branch(activation, projection, tuple(parts))
