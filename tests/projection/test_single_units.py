"""A single unit's gradient is autograd's, also where torch or the walk takes one map, or a crop, in another way."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight import DECONVNET, GRADIENT, Unit, capture, project

FILTER = torch.randn(4, 9, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))


def filtered(x):
    """Multiply by complex numbers, which go back as their conjugates."""
    return torch.fft.irfft2(torch.fft.rfft2(x) * FILTER, s=(9, 9))


def mixed_by_complex_weights(x):
    return torch.view_as_real(torch.complex(x, x.flip(1)) @ FILTER[0, :, :2]).flatten(3)


def in_patches(x):
    return x.contiguous().as_strided((x.shape[0], 4, 3, 9), (324, 81, 27, 1))


def counted_norm():
    norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
    norm.running_mean.copy_(torch.arange(4))
    norm.running_var.copy_(torch.arange(1, 5))
    return norm


class Between(nn.Module):
    """Something between two convolutions."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.below, self.above = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.middle = middle

    def forward(self, x):
        return self.above(self.middle(self.below(x)))


LINEAR = {
    "an instance norm by running statistics": counted_norm(),
    "a filter of frequencies": filtered,
    "complex weights": mixed_by_complex_weights,
    "a border that cuts off and adds": lambda x: F.pad(x, (-2, 1, -1, 0)),
    "patches by strides": in_patches,
}
CASES = LINEAR | {
    "an instance norm": nn.InstanceNorm2d(4),
    "a Kronecker product": lambda x: torch.kron(x, torch.ones(1, 1, 2, 2).double()),
}


@pytest.mark.parametrize("name", CASES)
def test_a_single_units_projection_is_its_gradient(name):
    model = Between(CASES[name]).double().eval()
    x = torch.randn(1, 2, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    net = capture(model, (2, 9, 9))
    for row, col in ((1, 1), (2, 0)):
        pixels = x.clone().requires_grad_()
        value = model(pixels)[0, 1, row, col]
        expected = torch.autograd.grad(value, pixels)[0] * value.detach()
        for rules in (GRADIENT, DECONVNET) if name in LINEAR else (GRADIENT,):
            found = project(net, x, [Unit(net.layers[-1].name, 1, row, col)], rules=rules)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
