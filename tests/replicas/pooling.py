"""Pooling and contrast normalisation of the replica: switches, windows and frozen denominators, in loops.

*Convention*: a tie in a window records its first place in raster order; of +a and -a the positive survives.
"""

from itertools import product
from math import ceil

import numpy as np


def zeros(shape):
    return np.zeros(shape, dtype=np.float64)


def inside(place, size):
    return all(0 <= at < end for at, end in zip(place, size, strict=True))


class Windows:
    """Where the windows of a pooling lie.

    *Convention*: in ceil mode a last window that would start in the padding behind the image is left out.
    """

    def __init__(self, kernel, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False):
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def counts(self, size):
        return [self.count(axis, size[axis]) for axis in range(2)]

    def count(self, axis, size):
        room = size + 2 * self.padding[axis] - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        n = (ceil(room / self.stride[axis]) if self.ceil_mode else room // self.stride[axis]) + 1
        starts_behind = self.ceil_mode and (n - 1) * self.stride[axis] >= size + self.padding[axis]
        return n - 1 if starts_behind else n

    def places(self, above, size):
        """Return the places of a window that lie inside the image, in raster order."""
        spans = [
            [
                above[a] * self.stride[a] - self.padding[a] + t * self.dilation[a]
                for t in range(self.kernel[a])
            ]
            for a in range(2)
        ]
        return [place for place in product(*spans) if inside(place, size)]

    def n_padded(self, above, size):
        """Return how many places of a window lie inside the padded image."""
        starts = [above[a] * self.stride[a] - self.padding[a] for a in range(2)]
        ends = [min(s + k, n + p) for s, k, n, p in zip(starts, self.kernel, size, self.padding, strict=True)]
        return (ends[0] - starts[0]) * (ends[1] - starts[1])


class MaxPool:
    """Max pooling with switches: where in each window the maximum was."""

    def __init__(self, windows):
        self.windows = windows

    def up(self, x):
        self.shape = x.shape
        out = zeros((len(x), *self.windows.counts(x.shape[1:])))
        self.switches = {}
        for channel, *above in np.ndindex(*out.shape):
            places = self.windows.places(above, x.shape[1:])
            best = places[0]
            for place in places[1:]:
                if x[channel, *place] > x[channel, *best]:
                    best = place
            self.switches[channel, *above] = (channel, *best)
            out[channel, *above] = x[channel, *best]
        return out

    def down(self, signal, rules):
        result = zeros(self.shape)
        for above, below in self.switches.items():  # in raster order
            old, new = result[below], signal[above]
            if rules.unpool == "add":
                result[below] = old + new
            elif rules.unpool == "assign-last" or abs(new) > abs(old) or (new == -old and new > 0):
                result[below] = new
        return [result]


class AveragePool:
    """Average pooling: a value goes back whole to each place of its window, or is shared out among them."""

    def __init__(self, windows, count_include_pad=True):
        self.windows, self.count_include_pad = windows, count_include_pad

    def cells(self, size):
        """Yield (place above, its window's places below, what the sum is divided by)."""
        for above in product(*map(range, self.windows.counts(size))):
            places = self.windows.places(above, size)
            yield above, places, self.windows.n_padded(above, size) if self.count_include_pad else len(places)

    def up(self, x):
        self.shape = x.shape
        cells = list(self.cells(x.shape[1:]))
        out = zeros((len(x), *(n + 1 for n in cells[-1][0])))
        for above, places, n in cells:
            for place in places:
                out[:, *above] += x[:, *place] / n
        return out

    def down(self, signal, rules):
        result = zeros(self.shape)
        for above, places, n in self.cells(self.shape[1:]):
            for place in places:
                result[:, *place] += (
                    signal[:, *above] if rules.average_pool == "fill" else signal[:, *above] / n
                )
        return [result]


class AdaptiveAveragePool(AveragePool):
    """Average pooling to a fixed size; the windows may overlap."""

    def __init__(self, out_size):
        self.out_size = out_size

    def cells(self, size):
        for above in product(*map(range, self.out_size)):
            spans = [
                range(i * n // m, ceil((i + 1) * n / m))
                for i, n, m in zip(above, size, self.out_size, strict=True)
            ]
            places = list(product(*spans))
            yield above, places, len(places)


class LocalResponseNorm:
    """Contrast normalisation across maps, y = x / d with d = (k + alpha/n * sum of squares of n maps) ** beta."""

    def __init__(self, n, alpha, beta, k):
        self.n, self.alpha, self.beta, self.k = n, alpha, beta, k

    def up(self, x):
        self.x = x
        self.base = np.stack(
            [self.k + self.alpha / self.n * sum(x[m] ** 2 for m in self.neighbours(c)) for c in range(len(x))]
        )
        return x / self.base**self.beta

    def down(self, signal, rules):
        d = self.base**self.beta
        ways = {"identity": signal, "frozen": signal / d, "inverse": signal * d, "vjp": signal / d}
        result = ways[rules.lrn].copy()
        if rules.lrn == "vjp":  # y_c also falls with each of its neighbours m
            for c in range(len(signal)):
                fall = (
                    signal[c]
                    * self.x[c]
                    * self.beta
                    * self.base[c] ** (-self.beta - 1)
                    * 2
                    * self.alpha
                    / self.n
                )
                for m in self.neighbours(c):
                    result[m] -= fall * self.x[m]
        return [result]

    def neighbours(self, channel):
        first = channel - self.n // 2
        return [m for m in range(first, first + self.n) if 0 <= m < len(self.x)]
