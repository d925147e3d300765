"""Small images and given signals: what arrives at the pixels can be read off."""

import torch
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import RuleSet
from replicas.compare import pull

UNPOOL = {mode: RuleSet(mode, unpool=mode) for mode in ("add", "assign-largest", "assign-last")}
TRANSPOSE = RuleSet("transpose", average_pool="transpose")


class Down(nn.Module):
    """A function of the pixels, all of whose values a fully connected head multiplies by given numbers."""

    def __init__(self, function, *rows):
        super().__init__()
        self.function = function
        self.head = nn.Linear(len(rows[0]), len(rows), bias=False).double()
        self.head.weight.data = torch.tensor(rows, dtype=torch.float64)

    def forward(self, x):
        return self.head(self.function(x).flatten(1))


def image(*rows):
    return torch.tensor(rows).double()[None, None]


def given(function, pixels, seed=0):
    """Return a random signal for a function's values on one image, and the network that puts it in."""
    value = function(pixels[:1])
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(value.shape, generator=generator, dtype=torch.float64)
    return signal, capture(Down(function, signal.flatten().tolist()), pixels)


def below(net, pixels, rules):
    """Return what the head's numbers become at the pixels, as a signal of the function's values."""
    return pull(net, "head", pixels, torch.ones(len(pixels), 1).double(), rules)[1]


def values(net, pixels, rules):
    """Return what the head gives in the rewritten network."""
    return pull(net, "head", pixels, torch.ones(len(pixels), 1).double(), rules)[0]


def arrives(function, pixels, signal, rules, net=None):
    """Return what a signal for the function's values becomes at the pixels, as nested lists."""
    net = net or capture(Down(function, signal), pixels)
    return below(net, pixels, rules)[0, 0].tolist()
