"""A deconvnet written out in loops: one image, float64 numpy, no autograd, no library's transposed convolution.

Each layer has a way up, which records what the way down needs (switches, the rectifier's input, denominators), and
a way down, which gives one signal for each of its inputs. Written from the papers: 1.1
(unpool, rectify, filter; no biases), 1.2 (overlapping windows), 1.3 (contrast normalisation), 4.1 (the rule table)
and 5 (skips, batch norm, leaky and smooth rectifiers). `rules` is anything with the options of a rule set.

"""

from itertools import product
from math import erf, exp, pi, sqrt

import numpy as np

from replicas.pooling import inside, zeros


class Filter:
    """Convolution. On the way down every connection is walked the other way, and the bias is left out."""

    def __init__(self, weight, bias, stride, padding, dilation, groups):
        self.weight, self.bias = weight, bias
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def up(self, x):
        self.shape = x.shape
        size = [
            (x.shape[axis + 1] + 2 * self.padding[axis] - self.dilation[axis] * (taps - 1) - 1)
            // self.stride[axis]
            + 1
            for axis, taps in enumerate(self.weight.shape[2:])
        ]
        self.connections = list(self.find_connections(size))
        out = zeros((len(self.weight), *size))
        for tap, below, above in self.connections:
            for ins, outs in self.channel_groups():
                out[outs, *above] += self.weight[outs, :, *tap] @ x[ins, *below]
        return out if self.bias is None else out + self.bias[:, None, None]

    def down(self, signal, rules):
        result = zeros(self.shape)
        for tap, below, above in self.connections:
            for ins, outs in self.channel_groups():
                result[ins, *below] += signal[outs, *above] @ self.weight[outs, :, *tap]
        return [result]

    def find_connections(self, out_size):
        """Yield (tap, place below, place above) for every tap that lands inside the image."""
        for above in product(*map(range, out_size)):
            for tap in product(*map(range, self.weight.shape[2:])):
                below = tuple(
                    above[a] * self.stride[a] + tap[a] * self.dilation[a] - self.padding[a] for a in range(2)
                )
                if inside(below, self.shape[1:]):
                    yield tap, below, above

    def channel_groups(self):
        n_in, n_out = self.shape[0] // self.groups, len(self.weight) // self.groups
        for g in range(self.groups):
            yield slice(g * n_in, (g + 1) * n_in), slice(g * n_out, (g + 1) * n_out)


class FullyConnected:
    """A matrix over all inputs, which it takes in raster order; down: the transposed matrix."""

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias

    def up(self, x):
        self.shape = x.shape
        return self.weight @ x.flatten() + (0 if self.bias is None else self.bias)

    def down(self, signal, rules):
        return [(signal @ self.weight).reshape(self.shape)]


class Flatten:
    def up(self, x):
        self.shape = x.shape
        return x.flatten()

    def down(self, signal, rules):
        return [signal.reshape(self.shape)]


class BatchNorm:
    """Batch norm of a trained network: a scale for each map, and a shift that the way down drops."""

    def __init__(self, weight, bias, mean, variance, eps):
        self.scale = weight / np.sqrt(variance + eps)
        self.shift = bias - mean * self.scale

    def up(self, x):
        return x * self.scale[:, None, None] + self.shift[:, None, None]

    def down(self, signal, rules):
        return [signal * self.scale[:, None, None]]


class Add:
    """A skip: both branches get the whole signal."""

    def up(self, *xs):
        self.n_inputs = len(xs)
        return sum(xs)

    def down(self, signal, rules):
        return [signal] * self.n_inputs


class Concat:
    """Concatenated maps: each branch gets the signal of its own maps."""

    def up(self, *xs):
        self.ends = np.cumsum([len(x) for x in xs])
        return np.concatenate(xs)

    def down(self, signal, rules):
        return np.split(signal, self.ends[:-1])


def cdf(x):
    return (1 + erf(x / sqrt(2))) / 2


def sigmoid(x):
    return 1 / (1 + exp(-x))


RECTIFIERS = {  # value and slope
    "relu": (lambda x: max(x, 0), lambda x: x > 0),
    "relu6": (lambda x: min(max(x, 0), 6), lambda x: 0 < x < 6),
    "gelu": (lambda x: x * cdf(x), lambda x: cdf(x) + x * exp(-x * x / 2) / sqrt(2 * pi)),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "hardswish": (
        lambda x: x * min(max(x + 3, 0), 6) / 6,
        lambda x: 0 if x <= -3 else 1 if x >= 3 else x / 3 + 0.5,
    ),
    "elu": (lambda x: x if x > 0 else exp(x) - 1, lambda x: 1 if x > 0 else exp(x)),
}


class Rectifier:
    """A rectifier: the one place where deconvnet, guided and gradient differ."""

    def __init__(self, kind):
        self.kind = kind

    def up(self, x):
        self.x = x
        return self.value(x)

    def value(self, x):
        return each(RECTIFIERS[self.kind][0], x)

    def slope(self, x):
        return each(RECTIFIERS[self.kind][1], x)

    def down(self, signal, rules):
        positive = np.maximum(signal, 0)
        ways = {
            "deconvnet": self.literal(signal) if rules.leaky == "literal" else positive,
            "guided": positive * np.maximum(self.slope(self.x), 0),
            "gradient": signal * self.slope(self.x),
            "identity": signal,
        }
        return [ways[rules.rectifier]]

    def literal(self, signal):
        return np.maximum(signal, 0)


class LeakyRectifier(Rectifier):
    """A leaky rectifier, whose slope below zero may differ from map to map (PReLU)."""

    def __init__(self, leak):
        self.leak = np.reshape(leak, (-1, 1, 1))

    def value(self, x):
        return np.where(x > 0, x, self.leak * x)

    def slope(self, x):
        return np.where(x > 0, 1, self.leak)

    def literal(self, signal):
        return self.value(signal)


def each(function, x):
    return np.array([function(v) for v in x.flat], dtype=np.float64).reshape(x.shape)


class Deconvnet:
    """A network, and the deconvnet attached to it.

    Args:
        steps: Pairs of a layer and the numbers of the values that it reads; value 0 is the image, value i is
            what step i (from 1) gave.
    """

    def __init__(self, steps):
        self.steps = steps

    def up(self, image):
        """Return the values of all steps, the image first, and record what the way down needs."""
        self.values = [image]
        for layer, inputs in self.steps:
            self.values.append(layer.up(*(self.values[i] for i in inputs)))
        return self.values

    def down(self, step, place, rules):
        """Return the projection of the activation at `place` of a step's output, all others zero."""
        return self.down_together([(step, place)], rules)

    def down_together(self, units, rules):
        """Return the projection of several activations at once, given as (step, place): all others zero."""
        signals = {step: zeros(self.values[step].shape) for step, _ in units}
        for step, place in units:
            signals[step][place] += self.values[step][place]
        for at in range(
            max(signals), 0, -1
        ):  # at a fan-out the signals are summed before they go further down
            layer, inputs = self.steps[at - 1]
            if at in signals:
                for below, signal in zip(inputs, layer.down(signals[at], rules), strict=True):
                    signals[below] = signals.get(below, 0) + signal
        return signals[0]

    def project(self, image, step, place, rules):
        """Return the projection of one unit of an image: up, then down."""
        self.up(image)
        return self.down(step, place, rules)
