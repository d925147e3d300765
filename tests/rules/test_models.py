"""Whole networks of torchvision: GRADIENT is autograd's gradient, and no rule set changes a value by one bit."""

import warnings

import pytest
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from backlight.network import capture
from backlight.projection import Unit, project
from backlight.rules import DECONVNET, GRADIENT, GUIDED, RuleSet
from replicas.compare import pull, same, same_bits

MODELS = {  # side of the image, a layer in the middle, a unit of it
    "efficientnet_b0": (64, "features.3.1.add", (7, 3, 4)),
    "convnext_tiny": (32, "features.3.1.add", (20, 0, 2)),
    "mobilenet_v3_small": (64, "features.5.add", (3, 2, 1)),
    "shufflenet_v2_x0_5": (64, "stage3.0.cat", (12, 0, 3)),
    "squeezenet1_1": (64, "features.6.cat", (30, 1, 5)),
}
RULES = [
    DECONVNET,
    GUIDED,
    GRADIENT,
    RuleSet("all options turned", "identity", "assign-largest", "transpose", "inverse", "literal", "vjp"),
]


def built(name):
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        return torchvision.models.get_model(name).double().eval()


@pytest.mark.parametrize("name", MODELS)
def test_whole_network(name):
    """One test a network: the capture takes most of the time."""
    side, layer, place = MODELS[name]
    model, images = built(name), torch.randn(2, 3, side, side).double()
    net = capture(model, images)
    output = net.layers[-1].name
    units = [Unit(layer, *place), Unit(output, 5)]
    values = [net.features([net.layer(n)])(images)[0] for n in (layer, output)]
    with torch.no_grad():
        same_bits(values[1], model(images))
    for rules in RULES:
        found = project(net, images, units, rules)
        assert torch.isfinite(found).all(), rules.name
        assert (found.abs().amax((1, 2, 3)) > 0).all(), rules.name
        for n, value in zip((layer, output), values, strict=True):
            same_bits(pull(net, n, images, torch.zeros_like(value), rules)[0], value)
    gradients = project(net, images, units, GRADIENT)
    original = create_feature_extractor(model, [layer, output])
    for image, found, unit in zip(images, gradients, units, strict=True):
        x = image[None].requires_grad_()
        maps = original(x)[unit.layer].permute(net.layer(unit.layer).order)[0]
        value = maps[place] if unit.layer == layer else maps[5]
        same(found, value.detach() * torch.autograd.grad(value, x)[0][0], 1e-11)
