"""Functions of the same pixels, each with a fully connected head of its own: captured together, checked one by one.

A seed at a head makes `seed @ weights` the signal of its function's values, so that each of them gets one.
"""

from functools import cache, cached_property

import numpy as np
import torch
from torch import nn

from backlight.network import capture
from backlight.projection.rewrite import apply_rules
from replicas.compare import same, same_bits


@cache
def constant(*shape, seed=0):
    """Return a constant tensor, made before the capture so that it is none of the network's operators."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Heads(nn.Module):
    """The functions, their heads, and the modules that they use."""

    def __init__(self, functions, shape, used):
        super().__init__()
        torch.manual_seed(3)
        self.functions = list(functions)
        modules = [f for f in self.functions if isinstance(f, nn.Module)]
        self.used = nn.ModuleList([*used, *modules]).double().eval()
        x = torch.zeros(2, *shape).double()
        widths = [f(x).flatten(1).shape[1] for f in self.functions]
        self.heads = nn.ModuleList(nn.Linear(width, 5) for width in widths).double()

    def forward(self, x):
        return torch.cat([h(f(x).flatten(1)) for f, h in zip(self.functions, self.heads, strict=True)], 1)


class Cases:
    """Named functions of the same pixels, in one captured network.

    Args:
        functions: By name, functions or modules of images (n, c, h, w).
        shape: (c, h, w) of the images.
        used: Modules that functions use without being one.
    """

    def __init__(self, functions, shape=(4, 6, 7), used=()):
        self.functions, self.shape, self.used = functions, shape, used
        self.pixels, self.seed = constant(2, *shape, seed=7), constant(2, 5, seed=9)
        self._outputs = {}

    @cached_property
    def model(self):
        return Heads(self.functions.values(), self.shape, self.used)

    @cached_property
    def net(self):
        return capture(self.model, constant(*self.shape))

    @cached_property
    def layers(self):
        return [self.net.layer(f"heads.{i}") for i in range(len(self.functions))]

    def index(self, name):
        return list(self.functions).index(name)

    def through_head(self, name, value):
        """Return what the head of a function makes of its value, or of its replica's."""
        return self.model.heads[self.index(name)](value.flatten(1))

    def signal(self, name):
        """Return what the seed at a function's head makes the signal of its values."""
        weight = self.model.heads[self.index(name)].weight.detach()
        return (self.seed @ weight).reshape(self.functions[name](self.pixels).shape)

    def way_down(self, name, rules):
        """Return what the seed at a function's head becomes at the pixels."""
        if rules not in self._outputs:
            x = self.pixels.clone().requires_grad_()
            self._outputs[rules] = x, apply_rules(self.net, self.layers, rules)(x)
        x, values = self._outputs[rules]
        return torch.autograd.grad(values[self.index(name)], x, self.seed, retain_graph=True)[0]


def check_replica(cases, name, replica, rules):
    """Raise unless the signal becomes at the pixels what the replica, of NumPy arrays, makes of pixels and signal."""
    found = replica(cases.pixels.numpy(), cases.signal(name).numpy())
    same(cases.way_down(name, rules), np.ascontiguousarray(found))


def check_values(cases, rules):
    """Raise unless all heads of the rewritten network give the network's values, bit for bit."""
    values = apply_rules(cases.net, cases.layers, rules)(cases.pixels)
    expected = cases.net.features(cases.layers)(cases.pixels)
    for value, own in zip(values, expected, strict=True):
        same_bits(value.detach(), own)
    same(torch.cat(values, 1), cases.model(cases.pixels), 1e-14)
