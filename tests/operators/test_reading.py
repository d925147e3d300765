"""What a node reads: masks, comparisons, indices, and what only lends its shape, carry no signal.

Each case is a forward as its author writes it beside its replica: a map affine in z, whose masks are made from x alone.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.errors import UnsupportedOperatorError
from backlight.network import capture
from backlight.operators.reading import carries_signal
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.operators.table import operands_read
from backlight.projection import Unit, project
from backlight.projection.rewrite import apply_rules
from replicas.compare import pull, same

torch.manual_seed(0)
CONV, OTHER = (nn.Conv2d(2, 2, 3, padding=1).double() for _ in range(2))
SIZE = (6, 7)


def central(x):
    mask = torch.zeros_like(x)
    mask[:, :, 1:4, 2:5] = 1
    return mask


def halves(x):
    mask = x.new_zeros(x.shape)
    mask[:, :1] = 0.5
    return mask


CASES = {
    "a mask of zeros_like": (lambda x: x * central(x), lambda x, z: z * central(z)),
    "ones_like": (lambda x: x * torch.ones_like(x), lambda x, z: z),
    "new_full": (lambda x: x - x.new_full(x.shape, 0.1), lambda x, z: z),
    "full_like": (lambda x: x / torch.full_like(x, 4), lambda x, z: z / 4),
    "new_zeros, written to": (lambda x: x * halves(x), lambda x, z: z * halves(z)),
    "zeros of its sizes": (
        lambda x: torch.cat([x, torch.zeros(x.shape[0], 1, *x.shape[2:], dtype=x.dtype)], 1),
        lambda x, z: F.pad(z, (0, 0, 0, 0, 0, 1)),
    ),
    "type_as": (lambda x: torch.ones(1, 1, *SIZE).type_as(x) * x, lambda x, z: z),
    "where, with zeros_like": (
        lambda x: torch.where(x > 0.1, x, torch.zeros_like(x)),
        lambda x, z: z * (x > 0.1),
    ),
    "a product with a comparison": (lambda x: x * (x > 0.1), lambda x, z: z * (x > 0.1)),
    "a comparison made floating": (
        lambda x: x * (x > 0.1).float().to(x.dtype),
        lambda x, z: z * (x > 0.1),
    ),
    "a comparison of another": (
        lambda x: CONV(x) * ((OTHER(x) > 0) & (x > -1)),
        lambda x, z: F.conv2d(z, CONV.weight, padding=1) * ((OTHER(x) > 0) & (x > -1)),
    ),
    "any of some": (
        lambda x: x * (x > 1).any(1, keepdim=True),
        lambda x, z: z * (x > 1).any(1, keepdim=True),
    ),
    "a comparison added": (lambda x: x + (x > 0), lambda x, z: z),
    "steps of two values": (
        lambda x: x * torch.where(x > 0.1, 1.0, 0.1),
        lambda x, z: z * torch.where(x > 0.1, 1.0, 0.1),
    ),
    "a choice by a comparison": (
        lambda x: torch.where(x > 0.1, x, 0.1 * x),
        lambda x, z: torch.where(x > 0.1, z, 0.1 * z),
    ),
    "masked_fill": (lambda x: x.masked_fill(x < 0.2, 0.0), lambda x, z: z * (x >= 0.2)),
    "an index of the strongest": (
        lambda x: x * (1 + x.argmax(1, keepdim=True)),
        lambda x, z: z * (1 + x.argmax(1, keepdim=True)),
    ),
    "positions": (
        lambda x: torch.cat([x, torch.arange(7.0).double().expand(x.shape[0], 1, 6, 7)], 1),
        lambda x, z: F.pad(z, (0, 0, 0, 0, 0, 1)),
    ),
    "detach": (lambda x: 2 * x.detach(), lambda x, z: 2 * z),
}


class Cases(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.ModuleList([CONV, OTHER])
        torch.manual_seed(1)
        x = torch.zeros(1, 2, *SIZE).double()
        widths = [function(x).shape[1] for function, _ in CASES.values()]
        self.heads = nn.ModuleList(nn.Conv2d(width, 2, 3, padding=1) for width in widths).double()

    def forward(self, x):
        return torch.cat([h(f(x)) for h, (f, _) in zip(self.heads, CASES.values(), strict=True)], 1)


IMAGES = torch.randn(2, 2, *SIZE, generator=torch.Generator().manual_seed(2)).double()
SIGNAL = torch.randn(2, 2, *SIZE, generator=torch.Generator().manual_seed(3)).double()


@pytest.fixture(scope="module")
def net():
    return capture(Cases(), IMAGES)


def expected(head, fixed, seed):
    z = IMAGES.clone().requires_grad_()
    return torch.autograd.grad(head(fixed(IMAGES, z)), z, seed)[0]


@pytest.mark.parametrize("rules", [DECONVNET, GUIDED, GRADIENT], ids=lambda rules: rules.name)
@pytest.mark.parametrize("name", CASES)
def test_the_signal_passes_by_what_is_not_read(net, name, rules):
    """By autograd of the whole rewritten graph, and by the walk over windows; no rectifier stands in the way."""
    layer = f"heads.{list(CASES).index(name)}"
    head, fixed = Cases().heads[list(CASES).index(name)], CASES[name][1]
    if name != "detach" or rules is not GRADIENT:
        same(pull(net, layer, IMAGES, SIGNAL, rules)[1], expected(head, fixed, SIGNAL))
    seed = torch.zeros_like(SIGNAL)
    seed[:, 1, 2, 3] = torch.tensor([2.0, -1.0])
    found = project(net, IMAGES, Unit(layer, 1, 2, 3), rules, seed=torch.tensor([2.0, -1.0]))
    same(found, expected(head, fixed, seed))


@pytest.mark.parametrize(
    "rules", [DECONVNET, GRADIENT, RuleSet("through", gates="vjp")], ids=lambda r: r.name
)
def test_one_image_serves_many_units_behind_masks(net, rules):
    """A mask that a constant lent its shape to has no entry for each image."""
    layer = f"heads.{list(CASES).index('type_as')}"
    units = [Unit(layer, c, row, 3) for c, row in ((0, 0), (1, 4), (1, 2))]
    together = project(net, IMAGES[1], units, rules)
    same(together, torch.cat([project(net, IMAGES[1], [unit], rules) for unit in units]))


class Binary(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = CONV

    def forward(self, x):
        return self.conv((x > 0).to(x.dtype))


def test_a_layer_that_sees_the_pixels_by_steps_only_is_refused_but_its_gradient_is_zero():
    net = capture(Binary(), IMAGES)
    message = r"^no signal can reach the pixels from conv: all of it depends on them by steps only \(gt at gt\); choose"
    with pytest.raises(UnsupportedOperatorError, match=message):
        apply_rules(net, [net.layer("conv")], DECONVNET)
    assert not project(net, IMAGES, Unit("conv", 1, 2, 3), GRADIENT).any()
    assert net.layer("conv").receptive_field.size == (3, 3)


def test_layers_below_steps_are_layers_still():
    """*Convention*: what a comparison of it decides is on the way to the output, as a spiking network has it."""
    net = capture(nn.Sequential(OTHER, nn.ReLU(), Binary()), IMAGES)
    assert [layer.name for layer in net.default_layers] == ["1", "2.conv"]


def test_one_definition_of_what_a_node_reads(net):
    nodes = {node.name: node for node in net.module.graph.nodes}
    assert [n for n in nodes.values() if n.name.startswith("gt") and carries_signal(n)] == []
    likes = [n for name, n in nodes.items() if name.startswith(("zeros_like", "ones_like", "full_like"))]
    assert likes
    assert all(not operands_read(n) and n not in net.analysis.dependent for n in likes)
