"""What cannot be projected is found before any work, on a device that computes nothing."""

import pytest
import torch
from torch import nn

from backlight import DECONVNET, GRADIENT, Unit, capture, project
from backlight.errors import UnsupportedOperatorError
from backlight.operators.ruleset import RULE_SETS, RuleSet
from backlight.projection import Projector, check_rules
from backlight.projection.backward import Backward


class Mixed(nn.Module):
    """Convolution, pools, a mask, a gate, a norm, a fully connected end."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.end = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2)
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x):
        x = self.pool(torch.relu(self.norm(self.conv(x))))
        x = torch.where(x > 0.1, x, torch.zeros_like(x)) * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return self.end(x.amax((2, 3)))


class NoDerivative(nn.Module):
    """An operator that PyTorch has no derivative of, on the way of half of the signal."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(2, 3, 3), function

    def forward(self, x):
        x = self.conv(x)
        return torch.relu(x + self.function(x))


SIZE = (2, 12, 12)


def layers_of(net):
    return [net.layer("relu"), net.layer("end")]


@pytest.mark.parametrize(
    "rules", [*RULE_SETS.values(), RuleSet("last", unpool="assign-last", gates="vjp")], ids=lambda r: r.name
)
def test_what_can_be_projected_passes_without_a_computed_value(rules, monkeypatch):
    net, devices, forward = capture(Mixed(), SIZE), [], Backward.forward
    monkeypatch.setattr(
        Backward, "forward", lambda self, x: devices.append(x.device.type) or forward(self, x)
    )
    check_rules(net, layers_of(net), rules)
    assert devices == ["meta"]


WITHOUT = {
    "special_zeta": lambda x: torch.special.zeta(x + 9, x + 9),
    "special_airy_ai": torch.special.airy_ai,
}


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_derivative_is_refused_by_name(name):
    """One raises in PyTorch, the other would pass nothing without a word."""
    net = capture(NoDerivative(WITHOUT[name]), SIZE)
    layers = [net.layer("relu")]
    for refuse in (
        lambda: check_rules(net, layers, GRADIENT),
        lambda: project(net, torch.rand(1, *SIZE), Unit("relu", 0, 3, 3), GRADIENT),
    ):
        with pytest.raises(
            UnsupportedOperatorError, match=f"^PyTorch has no derivative of {name}, so no signal"
        ):
            refuse()
    with pytest.raises(UnsupportedOperatorError, match=f"^no deconvnet rule for {name} at "):
        check_rules(net, layers, DECONVNET)
    check_rules(net, [net.layer("conv")], GRADIENT)


def test_what_does_not_run_on_meta_is_tried_for_real(monkeypatch):
    net, forward = capture(Mixed(), SIZE), Backward.forward

    def only_for_real(self, x):
        if x.device.type == "meta":
            raise NotImplementedError("no shapes")
        return forward(self, x)

    monkeypatch.setattr(Backward, "forward", only_for_real)
    check_rules(net, layers_of(net), DECONVNET)
    monkeypatch.setattr(Backward, "forward", lambda self, x: x.no_such_thing)
    with pytest.raises(
        UnsupportedOperatorError, match=r"cannot pass .* \(.*no_such_thing.*\); choose a layer below"
    ):
        check_rules(net, layers_of(net), DECONVNET)


class OverColumnsAndChannels(nn.Module):
    """A pool whose windows lie along columns and channels: the windows of its signals do not."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d((1, 2), (1, 2))
        self.average = nn.AvgPool2d((3, 1), 1, (1, 0))

    def forward(self, x):
        x = self.conv(x).permute(0, 2, 3, 1)
        return self.average(self.pool(x)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("rules", [DECONVNET, GRADIENT], ids=lambda rules: rules.name)
def test_pools_along_channels_do_not_take_them_for_columns(rules):
    torch.manual_seed(0)
    model = OverColumnsAndChannels().double()
    net = capture(model, SIZE)
    image, layer = torch.randn(1, *SIZE).double().requires_grad_(), net.layers[-1]
    value = model(image)[0, 1, 4, 5]
    (expected,) = torch.autograd.grad(value, image)
    if rules is DECONVNET:  # its average fills
        expected = 3 * expected
    (found,) = Projector(net, [layer], rules)(
        image.detach(), [Unit(layer.name, 1, 4, 5)], [0], torch.ones(1)
    ).signals
    torch.testing.assert_close(found, expected[0], rtol=1e-10, atol=1e-12)
