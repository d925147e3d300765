"""Whole networks of torchvision: GRADIENT is autograd's gradient, and no rule set changes a value by one bit."""

import warnings

import pytest
import torch
import torchvision

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED, RuleSet
from backlight.projection import Unit, project
from backlight.projection.rewrite import apply_rules
from replicas.compare import same, same_bits
from small_zoo import SMALL_ZOO

SMALL = {  # side of the image, a module in the middle, a unit of what it gives
    "efficientnet": (64, "features.2", (7, 3, 4)),
    "convnext": (32, "features.3", (20, 0, 2)),
    "mobilenet_v3": (64, "features.2", (3, 2, 1)),
    "shufflenet": (64, "stage3.0", (12, 0, 3)),
    "squeezenet1_1": (64, "features.6", (30, 1, 5)),
}
LARGE = {
    "efficientnet_b0": (64, "features.3.1", (7, 3, 4)),
    "convnext_tiny": (32, "features.3.1", (20, 0, 2)),
    "mobilenet_v3_small": (64, "features.5", (3, 2, 1)),
    "shufflenet_v2_x0_5": (64, "stage3.0", (12, 0, 3)),
}
TURNED = RuleSet("all options turned", "identity", "assign-largest", "transpose", "inverse", "literal", "vjp")


def built(name):
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        make = SMALL_ZOO.get(name, getattr(torchvision.models, name, None))
        return make().double().eval()


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(own, marks=pytest.mark.slow) for own in LARGE)])
def test_whole_network(name):
    """One test a network: the capture takes most of the time."""
    side, module, place = (SMALL | LARGE)[name]
    model, images = built(name), torch.randn(2, 3, side, side).double()
    net = capture(model, images)
    layers = [net.layer(module), net.layers[-1]]
    units = [Unit(module, *place), Unit(layers[1].name, 5)]

    maps = []
    hook = model.get_submodule(module).register_forward_hook(lambda _, __, out: maps.append(out))
    pixels = images.clone().requires_grad_()
    logits = model(pixels)
    hook.remove()

    for rules in (DECONVNET, GUIDED, GRADIENT, TURNED):
        values = apply_rules(net, layers, rules)(images)
        same_bits(values[0].detach(), maps[0].detach())
        same_bits(values[1].detach(), logits.detach())
    for rules in (DECONVNET, GUIDED):
        found = project(net, images, units, rules)
        assert torch.isfinite(found).all(), rules.name
        assert (found.abs().amax((1, 2, 3)) > 0).all(), rules.name
    found = project(net, images, units, GRADIENT)
    for i, value in enumerate((maps[0][0][place], logits[1][5])):
        (gradient,) = torch.autograd.grad(value, pixels, retain_graph=True)
        same(found[i], value * gradient[i], 1e-11)
