"""Waking: gradients pass a rectifier only where it would block all of an image's, and silent units are maximised."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backlight import Unit, capture
from backlight.inversion import codes, maximise
from backlight.inversion.waking import woken
from replicas.compare import same

aten = torch.ops.aten
X = torch.tensor([[-1.0, 2.0, -3.0], [-1.0, -2.0, -8.0], [4.0, 1.0, 2.0]])
G = torch.tensor([[-1.0, 5.0, -2.0], [-3.0, 1.0, -0.5], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("rectify", "options"),
    [
        (aten.relu.default, ()),
        (aten.relu6.default, ()),
        (aten.hardtanh.default, (0, 6)),
        (aten.clamp_min.default, (0.0,)),
    ],
)
def test_only_what_would_be_stopped_altogether_is_passed(
    rectify: Callable[..., Tensor], options: tuple
) -> None:
    x = X.clone().requires_grad_()
    done = woken(rectify, x, *options)
    same(done.detach(), X.clamp_min(0))
    (through,) = torch.autograd.grad(done, x, G)
    same(through[0], torch.tensor([0.0, 5.0, 0.0]))  # one unit is on: as always
    same(through[1], torch.tensor([-3.0, 0.0, -0.5]))  # all are off: what would raise them
    assert not through[2].any()


class Silent(nn.Module):
    """Units that only a strong pattern switches on: a rectifier inside of the graph, and one in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5, padding=2), nn.Conv2d(6, 4, 5)
        with torch.no_grad():
            self.conv2.bias.fill_(-1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 4, h, w), on noise all 0."""
        return F.hardtanh(self.conv2(F.relu(self.conv1(x))), 0, 60)


def test_a_unit_that_is_silent_on_noise_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = capture(Silent(), (3, 24, 24))
    layer = net.layers[-1].name
    assert net.features([net.layers[-1]])(0.3 * torch.randn(50, 3, 24, 24))[0].max() == 0
    assert -maximise(net, Unit(layer, 2), largest=1.0).goals[0] > 0.05
    monkeypatch.setattr(codes, "wake_rectifiers", lambda module: None)
    assert maximise(net, Unit(layer, 2), largest=1.0).goals[0] == 0
