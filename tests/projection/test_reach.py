"""The support of a projection lies inside its layer's receptive field, for every operator under every rule option."""

from dataclasses import fields, replace
from functools import cache
from itertools import product
from typing import get_args, get_type_hints

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backlight import DECONVNET, GRADIENT, GUIDED, capture
from backlight.geometry import ReceptiveField
from backlight.network import Layer, Network
from backlight.operators.reading import operands
from backlight.operators.ruleset import RuleSet
from backlight.projection.reach import under_rules
from backlight.projection.rewrite import apply_rules

SIDE = 12
torch.manual_seed(0)
CONV = nn.Conv2d(4, 4, 3, padding=1).double()
OTHER = nn.Conv2d(4, 4, 3, padding=1).double()
POINT = nn.Conv2d(4, 4, 1).double()


def squeezed(x: Tensor) -> Tensor:
    return POINT(F.relu(x.mean((2, 3), keepdim=True))).sigmoid()


def written(x: Tensor) -> Tensor:
    place = torch.zeros_like(x)
    place[:, :2, :-1] = x[:, :2, 1:]
    place[:, 2:] = x[:, 2:]
    return place


def copied(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(n, c, 2 * h, 2 * w)


def patches(x: Tensor) -> Tensor:
    return F.fold(F.unfold(x, 3, padding=1), (SIDE, SIDE), 3, padding=1)


def over_channels(x: Tensor) -> Tensor:
    tokens = x.flatten(2)
    return ((tokens @ tokens.mT).softmax(-1) @ tokens).reshape(x.shape)


def standardised(x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt()


def sampled(x: Tensor) -> Tensor:
    return F.grid_sample(x, torch.tanh(x[:, :2]).permute(0, 2, 3, 1), align_corners=False)


def scaled(x: Tensor) -> Tensor:
    return x / (x.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


LOCAL, GATED, WHOLE = "a window", "a window while gates are held fixed", "the whole image"
FAMILIES = {  # what a unit sees behind each, and what the signal goes through
    "convolution": (LOCAL, CONV),
    "dilated": (LOCAL, nn.Conv2d(4, 4, 3, dilation=2)),
    "depthwise": (LOCAL, nn.Conv2d(4, 4, 3, 2, groups=4)),
    "transposed": (LOCAL, nn.ConvTranspose2d(4, 4, 3, 2)),
    "batch norm": (LOCAL, nn.BatchNorm2d(4)),
    "instance norm": (WHOLE, nn.InstanceNorm2d(4, affine=True)),
    "group norm": (WHOLE, nn.GroupNorm(2, 4)),
    "layer norm of channels": (
        LOCAL, lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)
    ),
    "layer norm of maps": (WHOLE, lambda x: F.layer_norm(x, x.shape[1:])),
    "layer norm of rows": (WHOLE, lambda x: F.layer_norm(x, (SIDE,))),
    "rms norm of maps": (GATED, lambda x: F.rms_norm(x, x.shape[1:])),
    "rms norm of channels": (LOCAL, lambda x: F.rms_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)),
    "standardised by hand": (WHOLE, standardised),
    "scaled by hand": (GATED, scaled),
    "unit length": (LOCAL, lambda x: F.normalize(x, dim=1)),
    "local response": (LOCAL, nn.LocalResponseNorm(3)),
    "squeeze and excite": (GATED, lambda x: x * squeezed(x)),
    "gate of a window": (GATED, lambda x: x * CONV(x).sigmoid()),
    "gate from elsewhere": (GATED, lambda x: x * x.flip(3).sigmoid()),
    "gated twice": (GATED, lambda x: x * (x * squeezed(x)).sigmoid()),
    "two maps": (LOCAL, lambda x: CONV(x) * OTHER(x)),
    "square": (LOCAL, lambda x: x.square()),
    "gated linear unit": (LOCAL, lambda x: F.glu(torch.cat([x, CONV(x)], 1), 1)),
    "attention to channels": (GATED, over_channels),
    "attention to positions": (WHOLE, lambda x: over_channels(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),
    "relu": (LOCAL, F.relu),
    "leaky": (LOCAL, nn.LeakyReLU(0.3)),
    "gelu": (LOCAL, F.gelu),
    "hard swish by hand": (LOCAL, lambda x: x * F.relu6(x + 3) / 6),
    "max pool": (LOCAL, nn.MaxPool2d(3, 2)),
    "average pool": (LOCAL, nn.AvgPool2d(3, 2)),
    "adaptive pool": (LOCAL, lambda x: F.adaptive_avg_pool2d(x, 5)),
    "global pool": (WHOLE, lambda x: x + x.mean((2, 3), keepdim=True)),
    "maximum": (LOCAL, lambda x: torch.maximum(x, CONV(x))),
    "absolute": (LOCAL, torch.abs),
    "nearest": (LOCAL, lambda x: F.interpolate(x, scale_factor=2)),
    "bilinear": (LOCAL, lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "copies in place": (LOCAL, lambda x: x.repeat_interleave(2, 2).repeat_interleave(3, 3)),
    "copies by views": (LOCAL, copied),
    "written to slices": (LOCAL, written),
    "choice with a number": (LOCAL, lambda x: torch.where(x > 0.1, x, 0.0)),
    "mask": (LOCAL, lambda x: x.masked_fill(x > 0.5, 0)),
    "patches": (LOCAL, patches),
    "sampling": (WHOLE, sampled),
    "residual": (LOCAL, lambda x: x + OTHER(CONV(x))),
}  # fmt: skip
SQUASHES = {
    "sigmoid": (LOCAL, torch.sigmoid),
    "softmax of channels": (LOCAL, lambda x: x.softmax(1)),
    "softmax of columns": (WHOLE, lambda x: x.softmax(3)),
}
ALL = FAMILIES | SQUASHES


class Families(nn.Module):
    """Every family by itself on the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.ModuleList([CONV, OTHER, POINT])
        self.families = [family for _, family in ALL.values()]
        self.parts = nn.ModuleList(own for own in self.families if isinstance(own, nn.Module))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [family(x) for family in self.families]


@cache
def network() -> tuple[Network, dict[str, Layer]]:
    """The network of all families, and the layer that each gives; one capture of 48 operators takes seconds."""
    net = capture(Families().double().eval(), (4, SIDE, SIDE))
    (output,) = net.module.graph.find_nodes(op="output")
    return net, {name: net.layer(net.where(n)) for name, n in zip(ALL, operands(output.args), strict=True)}


OPTIONS = {own.name: get_args(get_type_hints(RuleSet)[own.name]) or (0, 2) for own in fields(RuleSet)[1:]}


def rule_sets() -> list[RuleSet]:
    """Every rule for rectifiers with every one for gates; the other options, each of one operator, take turns."""
    both = product(OPTIONS["rectifier"], OPTIONS["gates"])
    found = [
        RuleSet(str(i), **{name: values[i % len(values)] for name, values in OPTIONS.items()})
        for i in range(8)
    ]
    found = [replace(own, rectifier=r, gates=g) for own, (r, g) in zip(found, both, strict=True)]
    for name, values in OPTIONS.items():
        assert {getattr(own, name) for own in found} == set(values)
    return [DECONVNET, GUIDED, GRADIENT, *found]


def seen_in_words(field: ReceptiveField | None) -> str:
    return WHOLE if field is None or field.is_whole else GATED if field.gates_ignored else LOCAL


def test_the_fields_are_local_where_they_can_be():
    seen = {name: seen_in_words(layer.receptive_field) for name, layer in network()[1].items()}
    assert seen == {name: expected for name, (expected, _) in ALL.items()}


@pytest.mark.parametrize("rules", rule_sets(), ids=lambda rules: rules.name)
def test_nothing_lies_outside_of_the_field(rules):
    net, layers = network()
    chosen = {
        name: under_rules(layer, rules)
        for name, layer in layers.items()
        if name in FAMILIES or rules.squash != "error"
    }
    chosen = {name: layer for name, layer in chosen.items() if layer.receptive_field is not None}
    pixels = torch.randn(
        1, 4, SIDE, SIDE, dtype=torch.float64, generator=torch.manual_seed(2)
    ).requires_grad_()
    outputs = apply_rules(net, chosen.values(), rules)(pixels)
    outside, reached = {}, 0
    for (name, layer), out in zip(chosen.items(), outputs, strict=True):
        for row, col in ((0, 0), (layer.shape[1] // 2, layer.shape[2] // 2)):
            (found,) = torch.autograd.grad(out[0, 1, row, col], pixels, retain_graph=True)
            reached += bool(found.any())
            found[..., *layer.receptive_field.box(row, col).clip(SIDE, SIDE).slices()] = 0
            if found.any():
                outside[name, row, col] = float(found.abs().sum())
    assert not outside
    assert reached > len(chosen)  # of twice as many units: or nothing would be held


def test_rules_that_differentiate_gates_claim_no_window_for_what_a_gate_sees():
    gated = [layer for name, layer in network()[1].items() if ALL[name][0] == GATED]
    assert len(gated) > 5
    for layer in gated:
        assert under_rules(layer, DECONVNET) is layer
        assert under_rules(layer, replace(DECONVNET, gates="vjp")).receptive_field is None
