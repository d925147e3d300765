"""A small network twice: as torch modules, and as the replica that reads their weights."""

import torch
from torch import nn

from replicas import deconvnet as plain
from replicas import pooling


class Add(nn.Module):
    def forward(self, *xs):
        return sum(xs[1:], xs[0])


class Concat(nn.Module):
    def forward(self, *xs):
        return torch.cat(xs, 1)


class Twin(nn.Module):
    """Runs its steps in order; step i is layer `steps.{i - 1}` of the captured network.

    Args:
        steps: Modules, each of which reads the value before it, or pairs of a module and the numbers of the
            values that it reads (0 is the image, i is what step i gave).
    """

    def __init__(self, *steps):
        super().__init__()
        pairs = [s if isinstance(s, tuple) else (s, (i,)) for i, s in enumerate(steps)]
        self.steps = nn.ModuleList(module for module, _ in pairs)
        self.inputs = [inputs for _, inputs in pairs]
        self.double()

    def forward(self, x):
        values = [x]
        for module, inputs in zip(self.steps, self.inputs, strict=True):
            values.append(module(*(values[i] for i in inputs)))
        return values[-1]

    def replica(self):
        layers = [REPLICAS[type(module)](module) for module in self.steps]
        return plain.Deconvnet(list(zip(layers, self.inputs, strict=True)))


def array(tensor):
    return None if tensor is None else tensor.detach().double().numpy()


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def windows(m):
    return pooling.Windows(
        pair(m.kernel_size), pair(m.stride), pair(m.padding), pair(getattr(m, "dilation", 1)), m.ceil_mode
    )


REPLICAS = {
    nn.Conv2d: lambda m: plain.Filter(
        array(m.weight), array(m.bias), m.stride, m.padding, m.dilation, m.groups
    ),
    nn.Linear: lambda m: plain.FullyConnected(array(m.weight), array(m.bias)),
    nn.Flatten: lambda m: plain.Flatten(),
    nn.BatchNorm2d: lambda m: plain.BatchNorm(
        array(m.weight), array(m.bias), array(m.running_mean), array(m.running_var), m.eps
    ),
    nn.MaxPool2d: lambda m: pooling.MaxPool(windows(m)),
    nn.AvgPool2d: lambda m: pooling.AveragePool(windows(m), m.count_include_pad),
    nn.AdaptiveAvgPool2d: lambda m: pooling.AdaptiveAveragePool(pair(m.output_size)),
    nn.LocalResponseNorm: lambda m: pooling.LocalResponseNorm(m.size, m.alpha, m.beta, m.k),
    nn.LeakyReLU: lambda m: plain.LeakyRectifier(m.negative_slope),
    nn.PReLU: lambda m: plain.LeakyRectifier(array(m.weight)),
    nn.ReLU: lambda m: plain.Rectifier("relu"),
    nn.ReLU6: lambda m: plain.Rectifier("relu6"),
    nn.GELU: lambda m: plain.Rectifier("gelu"),
    nn.SiLU: lambda m: plain.Rectifier("silu"),
    nn.Hardswish: lambda m: plain.Rectifier("hardswish"),
    nn.ELU: lambda m: plain.Rectifier("elu"),
    Add: lambda m: plain.Add(),
    Concat: lambda m: plain.Concat(),
}
