"""Control masks: boxes of given sizes at random places, clear of marked parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from backlight.geometry import Box


def free_places(
    height: int, width: int, size: tuple[int, int], taken: Sequence[Box]
) -> Bool[np.ndarray, "rows cols"]:
    """Return for each place of a box's top left pixel whether the box is clear of the others there.

    Args:
        height: Height of the image.
        width: Width of the image.
        size: Height and width of the box, which fits into the image.
        taken: Boxes that it must not overlap.

    Example:
        >>> free_places(3, 4, (1, 2), [Box(0, 0, 2, 2)]).astype(int)
        array([[0, 0, 1],
               [0, 0, 1],
               [1, 1, 1]])
    """
    # a box fits at height - size + 1 rows: the last one ends at the edge
    free = np.ones((height - size[0] + 1, width - size[1] + 1), bool)
    for box in taken:
        # a box of this size that begins before top or left ends before the taken one begins
        top, left = max(box.top - size[0] + 1, 0), max(box.left - size[1] + 1, 0)
        free[top : box.bottom, left : box.right] = False
    return free


def random_boxes(
    image_size: tuple[int, int],
    size: tuple[int, int],
    taken: Sequence[Box],
    count: int,
    generator: np.random.Generator,
) -> list[Box]:
    """Return boxes of one size, each at a place drawn uniformly from those clear of others; from all if none is.

    Args:
        image_size: Height and width of the image.
        size: Height and width of the boxes.
        taken: Boxes that they must not overlap.
        count: Number of boxes.
        generator: Draws the places.

    Example:
        >>> random_boxes((2, 4), (2, 2), [Box(0, 0, 1, 2)], 1, np.random.default_rng(0))
        [Box(top=0, left=2, bottom=2, right=4)]
    """
    free = free_places(*image_size, size, taken)
    places = np.argwhere(free if free.any() else np.ones_like(free))
    chosen = places[generator.integers(0, len(places), count)].tolist()
    return [Box(top, left, top + size[0], left + size[1]) for top, left in chosen]


def shifted_boxes(
    image_size: tuple[int, int],
    boxes: Sequence[Box],
    taken: Sequence[Sequence[Box]],
    count: int,
    generator: np.random.Generator,
) -> list[list[Box]]:
    """Return the boxes of several images, all moved by one shift, for each of some shifts drawn at random.

    Args:
        image_size: Height and width of the images.
        boxes: One box in each image.
        taken: For each image the boxes that its moved box must not overlap.
        count: Number of different shifts; fewer where not as many keep all boxes inside and clear.
        generator: Draws the shifts.

    Example:
        >>> boxes = [Box(0, 0, 2, 1), Box(0, 1, 1, 2)]
        >>> shifted_boxes((2, 3), boxes, [[], [Box(0, 1, 1, 2)]], 9, np.random.default_rng(0))
        [[Box(top=0, left=1, bottom=2, right=2), Box(top=0, left=2, bottom=1, right=3)]]
    """
    # how far all boxes can move: up by `up`, left by `left`, and over this many rows and columns in all
    up, left = min(b.top for b in boxes), min(b.left for b in boxes)
    rows = image_size[0] - max(b.bottom for b in boxes) + up + 1
    cols = image_size[1] - max(b.right for b in boxes) + left + 1
    free = np.ones((rows, cols), bool)
    for box, others in zip(boxes, taken, strict=True):
        own = free_places(*image_size, (box.height, box.width), others)
        # own is indexed by the box's place; cut it to the places that the common shifts lead to
        free &= own[box.top - up :, box.left - left :][:rows, :cols]
    places = np.argwhere(free)  # (shifts, 2), counted from the furthest shift up and left
    chosen = places[generator.permutation(len(places))[:count]] - (up, left)
    return [
        [Box(b.top + down, b.left + along, b.bottom + down, b.right + along) for b in boxes]
        for down, along in chosen.tolist()
    ]
