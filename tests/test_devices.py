"""No tensor is made on a device of its own: a network on another device projects there.

The meta device stands for CUDA and MPS: it refuses to mix with the CPU as they do.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from backlight import DECONVNET, GRADIENT, GUIDED, RuleSet, Unit, capture, project
from backlight.projection import Projector


class _AllKinds(nn.Module):
    """Every kind of operator that has a rule of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.lrn = nn.LocalResponseNorm(3)
        self.group = nn.GroupNorm(2, 8)
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.leaky = nn.LeakyReLU(0.2)
        self.prelu = nn.PReLU(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lrn(torch.relu(self.norm(self.conv(x))))
        x = nn.functional.max_pool2d(x, 3, 2)
        x = x * torch.sigmoid(self.squeeze(nn.functional.adaptive_avg_pool2d(x, 1)))
        x = nn.functional.gelu(self.group(x)) + self.leaky(x)
        x = nn.functional.avg_pool2d(self.prelu(x), 2)
        x = nn.functional.adaptive_avg_pool2d(x, 2)
        return torch.maximum(x, x.flip(1)).amax(1, keepdim=True).mean((2, 3))


@pytest.mark.parametrize(
    "rules",
    [DECONVNET, GUIDED, GRADIENT, RuleSet("last", unpool="assign-last", lrn="inverse", leaky="literal"),
     RuleSet("largest", unpool="assign-largest", lrn="frozen", average_pool="transpose")],
    ids=lambda rules: rules.name,
)  # fmt: skip
def test_a_network_on_another_device_projects_there(rules: RuleSet) -> None:
    net = capture(_AllKinds().to("meta"), (3, 20, 20))
    last = net.layers[-1]
    signal = project(net, torch.zeros(2, 3, 20, 20), [Unit(last.name, 0)] * 2, rules)
    assert signal.device.type == "meta"
    assert signal.shape == (2, 3, 20, 20)
    together = Unit("gelu", 0, 1, 1) + Unit("gelu", 2, 3, 1) + Unit("conv", 1, 9, 9)
    assert project(net, torch.zeros(2, 3, 20, 20), together, rules, seed=1).device.type == "meta"


def test_the_seed_is_put_in_on_the_networks_device() -> None:
    net = capture(_AllKinds().to("meta"), (3, 20, 20))
    found = Projector(net, [net.layer("gelu")])(torch.zeros(2, 3, 20, 20), [Unit("gelu", 0, 1, 1)] * 2)
    assert found.values.device.type == "meta"


@pytest.mark.gpu
def test_the_gpu_gives_what_the_cpu_gives() -> None:
    torch.manual_seed(0)
    model, images = _AllKinds(), torch.randn(2, 3, 20, 20)
    units = [Unit("gelu", 3, 2, 2), Unit("gelu", 5, 0, 8) + Unit("gelu", 1, 4, 4)]
    on_cpu = project(capture(model, (3, 20, 20)), images, units)
    on_gpu = project(capture(model.cuda(), (3, 20, 20)), images, units)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu + 0, rtol=1e-3, atol=1e-5)
    assert on_gpu.figure().size == on_cpu.figure().size
