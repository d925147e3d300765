"""Operands that are stretched to a map's size pass back the sum of what their copies get, in the walk by windows.

One network holds every operator with every kind of stretched operand, each with a convolution of its own on top. The
replica is PyTorch's gradient of the whole rewritten graph, which knows nothing of windows.
"""

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from backlight import DECONVNET, GRADIENT, GUIDED, RuleSet, capture
from backlight.network.fold import fold_batch_norms
from backlight.projection.backward import Backward, Part
from backlight.projection.rewrite import apply_rules

OPERATORS = {
    "add": lambda map, one: map + one,
    "subtract a multiple": lambda map, one: torch.sub(one, map, alpha=0.3),
    "multiply": lambda map, one: map * one,
    "divide": lambda map, one: map / (one.abs() + 0.5),
    "divide by the map": lambda map, one: (one - map) / (map.abs() + 0.5),
    "choose by a comparison": lambda map, one: torch.where(map > one, map, 2 * one),
    "the larger": lambda map, one: torch.maximum(one, map),
    "the smaller": lambda map, one: torch.minimum(map, one),
    "a mask": lambda map, one: map * (map > one) + one,
    "fill where": lambda map, one: map.masked_fill(map < one, 0.25) - one,
    "a gate": lambda map, one: map * torch.sigmoid(one),
    "a gate that was rectified": lambda map, one: map * torch.relu(one),
    "expanded": lambda map, one: map - one.expand_as(map),
    "added and multiplied": lambda map, one: torch.addcmul(map, map, one),
}
ONLY_BY_GRADIENT = {
    "a power": lambda map, one: (map.abs() + 0.2) ** (one.abs() + 0.3),
    "a bound": lambda map, one: torch.clamp(map, min=one),
    "between": lambda map, one: torch.lerp(map, one, 0.3),
    "its own standard deviation": lambda map, one: map / ((map - one).std((2, 3), keepdim=True) + 0.1),
}
DIMS = [(1,), (2,), (3,), (2, 3), (1, 2, 3)]
STATISTICS = [torch.mean, torch.amax, lambda y, dims, keepdim: (y * y).mean(dims, keepdim=keepdim)]
CASES = [(name, DIMS[(i + j) % 5]) for i, name in enumerate(OPERATORS | ONLY_BY_GRADIENT) for j in (0, 3)]
RULES = [DECONVNET, GUIDED, GRADIENT, RuleSet("through", rectifier="guided", gates="vjp")]


class Stretched(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(2, 3, 3, padding=1)
        self.heads = nn.ModuleList(nn.Conv2d(3, 2, 3, padding=1) for _ in CASES)

    def forward(self, x):
        x, found = self.stem(x), []
        for i, (name, dims) in enumerate(CASES):
            one = STATISTICS[i % len(STATISTICS)](x, dims, keepdim=True)
            found.append(self.heads[i]((OPERATORS | ONLY_BY_GRADIENT)[name](x, one)))
        return torch.cat(found, 1)


SIZE = (7, 6)
IMAGES = torch.randn(2, 2, *SIZE, generator=torch.Generator().manual_seed(1)).double()


@pytest.fixture(scope="module")
def net():
    return capture(Stretched().double(), IMAGES)


CELLS = st.tuples(st.integers(0, 1), st.integers(0, SIZE[0] - 1), st.integers(0, SIZE[1] - 1))


@settings(max_examples=40, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, len(CASES) - 1), st.sampled_from(RULES), st.lists(CELLS, min_size=3, max_size=3))
def test_windows_give_the_gradient_of_the_whole_graph(net, case, rules, units):
    rules = rules if CASES[case][0] in OPERATORS else GRADIENT
    module, owners = apply_rules(net, [net.layer(f"heads.{case}")], rules), torch.tensor([1, 0, 1])
    x = IMAGES[owners].requires_grad_()
    (out,) = module(x)
    seed = torch.zeros_like(out)
    seed[torch.arange(3), *torch.tensor(units).unbind(1)] = torch.tensor([1.0, -2.0, 3.0]).double()
    (expected,) = torch.autograd.grad(out, x, seed)
    walk = Backward(fold_batch_norms(module))
    record, own = (walk.forward(IMAGES), owners) if walk.shares else (walk.forward(IMAGES[owners]), None)
    found = torch.zeros_like(expected)
    for at, _, windows in walk.descend(record, [Part(0, units)], own, torch.tensor([1.0, -2.0, 3.0])):
        found[list(at)] = windows.whole(expected.shape).data
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
