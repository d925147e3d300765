"""Adaptive deconvolutional networks in loops: painting, matching, pooling, contrast, refits. One image, float64 numpy.

Written from the paper (Zeiler, Taylor & Fergus 2011, section 2) and from what the docstrings promise, never from the
package's code.
"""

from itertools import product
from math import ceil, exp

import numpy as np


def paint(z, filters):
    """Return the maps in which every value puts its filter, upright, so that its last pixel lies on the value."""
    c, side = filters.shape[1], filters.shape[2]
    rows, cols = (length - side + 1 for length in z.shape[1:])
    maps = np.zeros((c, rows, cols))
    for (k, row, col), value in np.ndenumerate(z):
        for i, j in product(range(side), range(side)):
            below = row - side + 1 + i, col - side + 1 + j
            if 0 <= below[0] < rows and 0 <= below[1] < cols:
                maps[:, *below] += value * filters[k, :, i, j]
    return maps


def match(maps, filters):
    """Return the inner product of every filter, at every place that `paint` knows, with what of the maps it covers."""
    side = filters.shape[2]
    rows, cols = maps.shape[1:]
    z = np.zeros((len(filters), rows + side - 1, cols + side - 1))
    for k, row, col in np.ndindex(*z.shape):
        for i, j in product(range(side), range(side)):
            below = row - side + 1 + i, col - side + 1 + j
            if 0 <= below[0] < rows and 0 <= below[1] < cols:
                z[k, row, col] += maps[:, *below] @ filters[k, :, i, j]
    return z


def blocks(shape, sizes):
    """Yield the cell of each block, and its places by map, row and column; a block is cut where the maps end."""
    for cell in np.ndindex(*(ceil(length / size) for length, size in zip(shape, sizes, strict=True))):
        spans = [
            range(at * size, min((at + 1) * size, length))
            for at, size, length in zip(cell, sizes, shape, strict=True)
        ]
        yield cell, list(product(*spans))


def pool(z, sizes):
    """Return the pooled values and, for each cell, the place in the feature maps where its value was."""
    counts = [ceil(length / size) for length, size in zip(z.shape, sizes, strict=True)]
    values, winners = np.zeros(counts), {}
    for cell, places in blocks(z.shape, sizes):
        best = places[0]
        for place in places[1:]:
            if abs(z[place]) > abs(z[best]):
                best = place
        values[cell], winners[cell] = z[best], best
    return values, winners


def unpool(pooled, winners, shape, sizes, mode="full"):
    """Return feature maps in which each pooled value stands at the place, or places, that a mode of switches gives."""
    maps = np.zeros(shape)
    for cell, places in blocks(shape, sizes):
        if mode == "average":
            for place in places:
                maps[place] = pooled[cell] / len(places)
            continue
        middle = [(min(own) + max(own)) // 2 for own in zip(*places, strict=True)]
        winner = winners[cell]
        place = {
            "full": tuple(winner),
            "position-only": (middle[0], *winner[1:]),
            "map-only": (winner[0], *middle[1:]),
            "centre": tuple(middle),
        }[mode]
        maps[place] = pooled[cell]
    return maps


def switch(place, sizes):
    """Return the number of a place within its block: map, then row, then column."""
    inner = [at % size for at, size in zip(place, sizes, strict=True)]
    return (inner[0] * sizes[1] + inner[1]) * sizes[2] + inner[2]


def reconstruct(z, filters, winners, shapes, sizes):
    """Return R z: painted by the layer's filters, unpooled and painted by each layer below, down to the pixels.

    Args:
        z: Feature maps of the layer.
        filters: Of layer 1 up to it.
        winners: Of each layer below, as `pool` gives them.
        shapes: Of the feature maps of each layer below.
        sizes: Of its blocks.
    """
    maps = paint(z, filters[-1])
    for below in reversed(range(len(filters) - 1)):
        maps = paint(unpool(maps, winners[below], shapes[below], sizes[below]), filters[below])
    return maps


def columns(places, shape, filters, winners, shapes, sizes):
    """Return R as a matrix, (pixels, places): what a value of 1 at each of some places alone reconstructs."""
    found = []
    for place in places:
        z = np.zeros(shape)
        z[place] = 1
        found.append(reconstruct(z, filters, winners, shapes, sizes).ravel())
    return np.stack(found, 1)


def refitted(image, z, filters, winners, shapes, sizes):
    """Return feature maps whose values, where those of z are not zero, are the least squares for the image."""
    places = [tuple(place) for place in np.argwhere(z)]
    matrix = columns(places, z.shape, filters, winners, shapes, sizes)
    values, *_ = np.linalg.lstsq(matrix, image.ravel(), rcond=None)
    maps = np.zeros(z.shape)
    for place, value in zip(places, values, strict=True):
        maps[place] = value
    return maps


def normalised(image, size, sigma):
    """Return one channel less its local mean, divided by its local deviation, floored at the median of deviations.

    The window is a Gaussian whose weights add up to 1, over a border that repeats its outermost pixels.
    """
    reach = size // 2
    window = [
        [exp(-(i**2 + j**2) / (2 * sigma**2)) for j in range(-reach, reach + 1)]
        for i in range(-reach, reach + 1)
    ]
    total = sum(map(sum, window))
    mean, deviation = np.zeros(image.shape), np.zeros(image.shape)
    for row, col in np.ndindex(*image.shape):
        near = np.array(
            [
                [
                    image[mirrored(row + i, len(image)), mirrored(col + j, image.shape[1])]
                    for j in around(reach)
                ]
                for i in around(reach)
            ]
        )
        weights = np.array(window) / total
        mean[row, col] = (weights * near).sum()
        deviation[row, col] = np.sqrt((weights * (near - mean[row, col]) ** 2).sum())
    flat = sorted(deviation.flat)
    floor = flat[(len(flat) - 1) // 2]
    if floor <= 1e-6 * np.abs(image).max():
        positive = [own for own in flat if own > 1e-6 * np.abs(image).max()]
        floor = positive[(len(positive) - 1) // 2] if positive else 1.0
    return (image - mean) / np.maximum(deviation, floor)


def around(reach):
    return range(-reach, reach + 1)


def mirrored(at, length):
    return -1 - at if at < 0 else 2 * length - 1 - at if at >= length else at
