"""Masked parts and their controls, and in which direction each mask moves every entry of some layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations, islice
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int8
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.images import decode
from backlight.network import Layer, Network
from backlight.network.fast import FastNetwork
from backlight.progress import Watching
from backlight.projection import MOST_IMAGES
from backlight.studies.correspondence.parts import MarkedImage, checked_box, part_names
from backlight.studies.correspondence.placing import random_boxes, shifted_boxes
from backlight.studies.covering import Fill, covered, filled
from backlight.studies.numbers import as_array
from backlight.studies.progress import Count

Entries = Literal["all", "changed"]
"""Over which entries: all of them, as in the paper, or those that the mask changes in at least one of two images."""
ControlMask = Literal["random", "shifted"]
"""Boxes as large as the part's: each at its own random place, or all of the part's boxes moved by one random shift."""

ENTRIES: tuple[Entries, ...] = ("all", "changed")
CONTROL_MASKS: tuple[ControlMask, ...] = ("random", "shifted")
ROUNDING = 64
"""Changes of at most this many rounding units of a layer's largest activation count as none."""


@dataclass(frozen=True)
class Mask:
    """One box masked in each of some images.

    Attributes:
        part: Index of the part.
        control: None where the part itself is masked.
        draw: Which draw of the control.
        images: Indices of the images.
        boxes: The box in each image, in pixels of what the network sees.
    """

    part: int
    control: ControlMask | None
    draw: int
    images: tuple[int, ...]
    boxes: tuple[Box, ...]


class Scene:
    """Images as the network sees them, with the parts marked in them.

    Args:
        net: A network with preprocessing.
        marked: The images and their parts.
        fill: What masked pixels show.
        seed: Random seed for every draw.

    Attributes:
        parts: Names of the parts.
        names: Names of the images.
        boxes: The boxes of each image by part, in pixels of what the network sees.
        pictures: (n, h, w, 3) uint8.

    Raises:
        BadInputError: A network without preprocessing, fewer than two images, or a box that cannot be used.
        ImageError: An image cannot be read.
    """

    def __init__(self, net: Network, marked: Sequence[MarkedImage], fill: Fill, seed: int) -> None:
        if net.preprocessing is None:
            raise BadInputError(
                f"{net.name} was captured without preprocessing, so boxes of pictures cannot be placed; "
                "pass capture(model, example, preprocessing=Preprocessing(...))"
            )
        self.parts = part_names(marked)
        self.names = [image.name for image in marked]
        self._seed = seed
        upright = [decode(image.image, net.preprocessing.channels) for image in marked]
        self.boxes = [
            {
                part: checked_box(net.preprocessing, (own.height, own.width), (image.name, part), box)
                for part, box in image.boxes.items()
            }
            for image, own in zip(marked, upright, strict=True)
        ]
        pictures = net.preprocessing.pictures(upright)
        self.pictures = np.stack([np.asarray(own.convert("RGB")) for own in pictures])
        self._inputs = net.prepare(net.preprocessing.normalise(pictures))
        self._fills = [
            filled(own, fill, np.random.default_rng((seed, i))) for i, own in enumerate(self._inputs)
        ]

    def box_array(self) -> NDArray[np.int64]:
        """Return the boxes (parts, images, 4); -1 where a part is missing."""
        missing = Box(-1, -1, -1, -1)
        # boxes are (top, left, bottom, right), as `Box` has them
        rows = [[astuple(own.get(part, missing)) for own in self.boxes] for part in self.parts]
        return np.array(rows, np.int64)

    def masked(self, image: int, box: Box | None) -> Float[torch.Tensor, "c h w"]:
        """Return the input (c, h, w) of an image with the fill in the box; with no box the input as it is."""
        if box is None:
            return self._inputs[image]
        return covered(self._inputs[image], self._fills[image], [box])[0]

    def masks(self, part: int, n_random: int) -> list[Mask]:
        """Return the mask of a part, then those of its controls: n_random draws each, or as many as there are."""
        name = self.parts[part]
        images = tuple(i for i, own in enumerate(self.boxes) if name in own)
        boxes = [self.boxes[i][name] for i in images]
        taken = [list(self.boxes[i].values()) for i in images]
        size = self.pictures.shape[1], self.pictures.shape[2]
        # each part draws by itself, so that its controls do not depend on the other parts
        generator = np.random.default_rng((self._seed, part, 1))
        # random: each image draws by itself, and draw k of the control is draw k of every image
        by_image = [
            random_boxes(size, (box.height, box.width), others, n_random, generator)
            for box, others in zip(boxes, taken, strict=True)
        ]
        controls: dict[ControlMask, list[list[Box]]] = {
            "random": [list(own) for own in zip(*by_image, strict=True)],
            "shifted": shifted_boxes(size, boxes, taken, n_random, generator),
        }
        found = [Mask(part, None, 0, images, tuple(boxes))]
        for control, drawn in controls.items():
            found += [Mask(part, control, i, images, tuple(own)) for i, own in enumerate(drawn)]
        return found


def sign_differences(signs: Int8[np.ndarray, "k d"]) -> Float64[np.ndarray, "measures pairs"]:
    """Return for each pair i < j of rows the share of entries that differ, of all entries and of the changed ones.

    Args:
        signs: -1, 0 or 1: the direction in which each of d entries is moved in each of k images.

    Returns:
        `all`: the share of all entries; `changed`: the share of those that are not 0 in both rows, NaN where there
        are none. The pairs are in the order of `itertools.combinations`.

    Example:
        >>> sign_differences(np.array([[1, -1, 0, 0], [1, 1, 0, 0]], np.int8))
        array([[0.25],
               [0.5 ]])
    """
    found = []
    for first, second in combinations(signs, 2):  # two rows (d,)
        n_differ = np.count_nonzero(first != second)
        # the bits of -1, 0 and 1 are all 0 only for 0, so the union is 0 where neither entry is moved
        n_changed = np.count_nonzero(first | second)
        found.append((n_differ / signs.shape[1], n_differ / n_changed if n_changed else np.nan))
    return np.array(found, np.float64).reshape(-1, len(ENTRIES)).T


class SignDifferences:
    """Runs masked images and compares in which direction the entries of layers are moved.

    Args:
        net: The network.
        layers: The layers.
        scene: The images.

    *Convention*: a change of no more than `ROUNDING` has the sign 0: in a batch of another size the last bits of an
    activation may differ even where no masked pixel reaches it.
    """

    def __init__(self, net: Network, layers: Sequence[Layer], scene: Scene) -> None:
        self._run = FastNetwork(net, layers)
        self._scene = scene
        self._rounding = ROUNDING * torch.finfo(net.dtype).eps
        self._whole = list(self._vectors([(i, None) for i in range(len(scene.boxes))]))

    def __call__(
        self, masks: Sequence[Mask], progress: Watching = None
    ) -> Iterator[tuple[Mask, Float64[np.ndarray, "measures layers pairs"]]]:
        """Yield each mask with its sign differences, and report the number of masked images done."""
        jobs = [job for mask in masks for job in zip(mask.images, mask.boxes, strict=True)]
        # lazily: images are run in batches across masks, and consumed mask by mask
        signs = (
            self._signs(image, found) for (image, _), found in zip(jobs, self._vectors(jobs), strict=True)
        )
        count = Count(progress, "correspondence", len(jobs))
        for mask in masks:
            own = list(islice(signs, len(mask.images)))  # by image, then by layer: (entries of the layer,)
            by_layer = [np.stack(layer) for layer in zip(*own, strict=True)]  # each (images, entries)
            yield mask, np.stack([sign_differences(layer) for layer in by_layer], 1)
            count.add(len(own))

    def _vectors(self, jobs: Sequence[tuple[int, Box | None]]) -> Iterator[tuple[NDArray[np.float32], ...]]:
        """Yield the layers' activations of each masked image as vectors."""
        for start in range(0, len(jobs), MOST_IMAGES):
            part = jobs[start : start + MOST_IMAGES]
            outputs = self._run(torch.stack([self._scene.masked(*job) for job in part]))
            vectors = [as_array(maps.flatten(1)) for maps in outputs]  # by layer: (images, entries)
            for i in range(len(part)):
                yield tuple(layer[i] for layer in vectors)

    def _signs(self, image: int, masked: tuple[NDArray[np.float32], ...]) -> list[NDArray[np.int8]]:
        """Return by layer the sign of x - x~ for each entry, x of the whole image and x~ of the masked one."""
        found = []
        for whole, own in zip(self._whole[image], masked, strict=True):
            # (entries,); rounding is relative to the layer's largest activation, not to each entry's own
            change = whole - own
            change[np.abs(change) <= self._rounding * np.abs(whole).max()] = 0
            found.append(np.sign(change).astype(np.int8))
        return found
