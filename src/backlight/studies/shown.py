"""What a study shows of images: pictures of the inputs, and a feature map's projections in other images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.images import Preprocessing, listed_images
from backlight.network import Images, Layer, Network
from backlight.operators.ruleset import RuleSet
from backlight.projection import Unit, project, strongest
from backlight.projection.reach import under_rules
from backlight.render import Tile, draw_input, pad
from backlight.storage.tiles import tile_box

_SAME = 1e-4


@dataclass(frozen=True, eq=False)
class Others:
    """A feature map's strongest units in other images, on the boxes that they see.

    Attributes:
        names: Names of the k images.
        boxes: (k, 4) top, left, bottom, right; they may reach outside the image.
        patches: (k, h, w, 3) uint8, black outside the image.
        projections: (k, h, w, c), zero outside the image.
    """

    names: tuple[str, ...]
    boxes: NDArray[np.int64]
    patches: NDArray[np.uint8]
    projections: NDArray[np.float32]

    @classmethod
    def of(cls, names: Sequence[str], tiles: Sequence[Tile]) -> Others:
        """Return what tiles show as arrays, which are empty where there are no tiles."""
        if not tiles:
            arrays = np.zeros((0, 4), np.int64), np.zeros((0,), np.uint8), np.zeros((0,), np.float32)
            return cls((), *arrays)
        boxes = [(t.box.top, t.box.left, t.box.bottom, t.box.right) for t in tiles]
        patches = np.stack([pad(tile, tile.patch) for tile in tiles])
        projections = np.stack([pad(tile, tile.projection) for tile in tiles]).astype(np.float32)
        return cls(tuple(names), np.array(boxes, np.int64), patches, projections)

    def tiles(self, size: tuple[int, int]) -> list[Tile]:
        """Return the tiles, given the height and width of the images."""
        found = []
        for own, patch, projection in zip(self.boxes.tolist(), self.patches, self.projections, strict=True):
            box = Box(*own)
            # a Tile holds only what lies inside the image, cut from the padded (h, w, ...) array
            inside = box.clip(*size).slices(box.top, box.left)
            found.append(Tile(patch[inside], projection[inside], box, size))
        return found


def inputs_of(net: Network, images: Images) -> tuple[Tensor, list[UInt8[np.ndarray, "h w 3"]]]:
    """Return images as inputs (n, c, h, w), and a picture of each.

    Raises:
        BadInputError: As for `Network.prepare`.
        ImageError: A picture cannot be read.

    *Convention*: a picture is shown as the network sees it, before it is normalised. The normalisation of a tensor is
    not known: its smallest value is shown black and its largest white.

    Example:
        >>> import torch, backlight
        >>> net = backlight.capture(torch.nn.Conv2d(1, 2, 1), (1, 1, 2))
        >>> inputs_of(net, torch.tensor([[[-3.0, 5.0]]]))[1][0][..., 0]
        array([[  0, 255]], dtype=uint8)
    """
    if net.takes_as_inputs(images) or net.preprocessing is None:
        batch = net.prepare(images)
        return batch, [drawn_as(one, one, None) for one in batch]
    pictures = net.preprocessing.pictures(listed_images(images))
    batch = net.prepare(net.preprocessing.normalise(pictures))
    return batch, [np.array(picture.convert("RGB")) for picture in pictures]


def view(net: Network, layer: Layer, unit: Unit) -> Box:
    """Return the box that a unit sees, which may reach outside the image.

    *Convention*: of a layer without a receptive field it is the whole image.

    Example:
        >>> import torch, backlight
        >>> net = backlight.capture(torch.nn.Conv2d(1, 2, 3, padding=1), (1, 8, 8))
        >>> view(net, net.layer("conv2d"), Unit("conv2d", 0, 0, 4))
        Box(top=-1, left=3, bottom=2, right=6)
    """
    height, width = net.input_shape[1:]
    return tile_box(layer.receptive_field, unit.row, unit.col, (height, width))


def tile_of(picture: UInt8[np.ndarray, "h w 3"], projection: NDArray[np.floating], box: Box) -> Tile:
    """Return the part of a picture and of a projection (h, w, c) in a box.

    *Convention*: where the channels of a projection are not colours (neither 1 nor 3), their mean is shown.

    Example:
        >>> tile_of(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 2)), Box(-1, 3, 2, 6)).projection.shape
        (2, 3, 1)
    """
    size = picture.shape[:2]
    if projection.shape[2] not in (1, 3):
        projection = projection.mean(2, keepdims=True)
    inside = box.clip(*size).slices()
    return Tile(picture[inside], projection[inside], box, size)


def others_of_atlas(atlas: Atlas, net: Network, unit: Unit, value: float, count: int) -> Others:
    """Return the top hits of a unit's feature map in an atlas, without the unit itself.

    Args:
        atlas: A finished atlas of this network, as `check_network` holds.
        net: The captured network.
        unit: The unit in the image under study.
        value: Its activation.
        count: At most how many hits.

    Raises:
        BadInputError: The atlas is of another image size, or the map was not projected in it.
        UnknownLayerError: The atlas has no such layer.
        AtlasError: The build is not finished.

    *Convention*: a hit at the unit's place with the same activation is taken to be the image under study.
    """
    if atlas.preprocessing.crop != net.input_shape[1:]:
        sizes = ["x".join(map(str, size)) for size in (atlas.preprocessing.crop, net.input_shape[1:])]
        raise BadInputError(
            f"{atlas.path.name} was built for images of {sizes[0]}, not {sizes[1]}; build one for those"
        )
    layer = atlas[unit.layer]
    if unit.channel not in layer.channels:
        known = ", ".join(map(str, layer.channels[:8])) + (", …" if len(layer.channels) > 8 else "")
        raise BadInputError(
            f"map {unit.channel} of layer {layer.name!r} is not projected in {atlas.path.name}; build it with that "
            f"map, or choose the channel among {known}"
        )
    hits = [
        hit
        for hit in layer[unit.channel].hits
        if (hit.row, hit.col) != (unit.row, unit.col) or abs(hit.value - value) > _SAME * abs(value)
    ][:count]
    return Others.of([atlas.images[hit.image_id].path for hit in hits], [hit.tile for hit in hits])


def others_of_images(net: Network, images: Images, unit: Unit, rules: RuleSet) -> Others:
    """Return the strongest unit of a unit's feature map in each of some images.

    Raises:
        BadInputError: The images do not fit the network.
        UnsupportedOperatorError: An operator between the unit and the pixels has no rule.
    """
    batch, pictures = inputs_of(net, images)
    units = strongest(net, batch, unit.layer, unit.channel)
    # (n, h, w, c), one for each image
    signals = project(net, batch, units, rules).permute(0, 2, 3, 1).float().cpu().numpy()
    boxes = [view(net, under_rules(net.layer(own.layer), rules), own) for own in units]
    tiles = [tile_of(*own) for own in zip(pictures, signals, boxes, strict=True)]
    return Others.of(image_names(images, len(batch)), tiles)


def image_names(images: Images, count: int) -> list[str]:
    """Return what `count` images are called: the path of a file, else a number.

    Example:
        >>> image_names(["a/dog.jpg", np.zeros((2, 2, 3), np.uint8)], 2)
        ['a/dog.jpg', 'image 1']
    """
    several = isinstance(images, Sequence) and not isinstance(images, str)
    given = list(images) if several else [images] * count  # type: ignore[arg-type]
    return [str(own) if isinstance(own, (str, Path)) else f"image {i}" for i, own in enumerate(given)]


def drawn_as(
    values: Tensor, image: Tensor, preprocessing: Preprocessing | None
) -> UInt8[np.ndarray, "h w 3"]:
    """Return values (c, h, w) of a network's input as a picture, as the picture of an image (c, h, w) is drawn.

    Args:
        values: What is drawn.
        image: The input beside which it is drawn.
        preprocessing: How the image was made of a picture, which is undone; None where that is not known: then the
            image's smallest value is black and its largest white.

    Example:
        >>> import torch
        >>> drawn_as(torch.ones(1, 1, 1), torch.tensor([[[-3.0, 5.0]]]), None)[0, 0].tolist()
        [128, 128, 128]
    """
    shown, like = (own.detach().float().cpu().numpy() for own in (values, image))
    return draw_input(shown, like, None if preprocessing is None else (preprocessing.mean, preprocessing.std))
