"""The user's model is left as it was: nothing is hooked, switched, copied or left behind."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import DECONVNET, GRADIENT, GUIDED
from backlight.projection import Unit, project, superpose
from replicas.compare import differ, same, same_bits


class Model(nn.Module):
    """In-place rectifiers, batch norm, dropout, and parameters of which some are frozen."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.relu = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU6(inplace=True))
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(6, 4)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        x = F.relu_(self.block(x) + x)
        return self.fc(self.drop(x.mean((2, 3))))


IMAGES = torch.randn(3, 3, 9, 9, generator=torch.Generator().manual_seed(1))
UNITS = [Unit("relu", 1, 2, 3), Unit("fc", 2), Unit("block.2", 0, 0, 0)]


def mixed_model():
    model = Model()
    model.block.eval()
    model.drop.eval()
    for parameter in model.block.parameters():
        parameter.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    return model


def state(model):
    """Return everything that the model has, tensors by identity and by value."""
    modules = dict(model.named_modules())
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "training": {name: module.training for name, module in modules.items()},
        "in place": {name: module.inplace for name, module in modules.items() if hasattr(module, "inplace")},
        "attributes": {name: sorted(vars(module)) for name, module in modules.items()},
        "hooks": {
            f"{name}.{key}": dict(value)
            for name, module in modules.items()
            for key, value in vars(module).items()
            if key.endswith("hooks") or "_hooks_" in key
        },
        "modules": {name: id(module) for name, module in modules.items()},
        "tensors": {name: (id(t), t.data_ptr(), t._version) for name, t in tensors.items()},
        "values": {name: t.tolist() for name, t in tensors.items()},
        "requires_grad": {name: t.requires_grad for name, t in tensors.items()},
        "gradients": {name: None if t.grad is None else t.grad.tolist() for name, t in tensors.items()},
        "hooked tensors": {name: t._backward_hooks for name, t in tensors.items()},
    }


def test_a_model_in_a_mixed_state_is_left_as_it_was():
    model = mixed_model()
    before = state(model)
    assert set(before["training"].values()) == set(before["requires_grad"].values()) == {True, False}
    assert before["hooks"]
    net = capture(model, IMAGES)
    for rules in (DECONVNET, GUIDED, GRADIENT):
        project(net, IMAGES, UNITS, rules)
    superpose(net, IMAGES[0], "relu")
    after = state(model)
    for what in before:
        assert after[what] == before[what], what


def test_its_outputs_and_its_training_go_on_as_before():
    model, twin = Model().eval(), Model().eval()
    net = capture(model, IMAGES)
    project(net, IMAGES, UNITS)
    same_bits(model(IMAGES), twin(IMAGES))
    for each in (model, twin):
        each.train()
        torch.manual_seed(3)
        each(IMAGES).square().sum().backward()
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad), name
    same_bits(model.norm.running_mean, twin.norm.running_mean)


def test_the_capture_is_the_inference_mode_whatever_mode_the_model_is_in():
    model = mixed_model()
    net = capture(model, IMAGES)
    same_bits(net(IMAGES), model.eval()(IMAGES).detach())


def test_a_failed_capture_leaves_it_as_it_was_too():
    class Failing(Model):
        def forward(self, x):
            return self.fc(x) if x.sum() > 0 else x

    model = Failing()
    model.block.eval()
    before = state(model)
    with pytest.raises(ValueError, match="Failing does not take an input of 3x9x9: stopped at "):
        capture(model, IMAGES)
    assert state(model) == before


def test_weights_changed_in_place_are_seen_by_the_captured_network():
    model, other = Model().eval(), Model().eval()
    for parameter in other.parameters():
        parameter.data.mul_(-0.5)
    other.norm.running_mean.fill_(0.3)
    net = capture(model, IMAGES)
    before = project(net, IMAGES, UNITS)
    model.load_state_dict(other.state_dict())
    same_bits(net(IMAGES), other(IMAGES).detach())
    same(project(net, IMAGES, UNITS), project(capture(other, IMAGES), IMAGES, UNITS))
    differ(project(net, IMAGES, UNITS), before)


def test_the_captured_network_holds_no_copy_of_the_weights():
    model = Model()
    own = {t.data_ptr() for t in (*model.parameters(), *model.buffers()) if t.dim()}
    buffers = [b for b in capture(model, IMAGES).module.buffers() if b.dim()]
    assert len(buffers) == 14
    assert {b.data_ptr() for b in buffers} <= own
    assert not any(b.requires_grad for b in buffers)
