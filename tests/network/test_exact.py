"""The exact network gives what the model gives in float64, runs no more than it must, and leaves the model as it is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from backlight import Network, capture
from backlight.network.exact import ExactNetwork, coarsest_eps, has_float64


class _Mixed(nn.Module):
    """Norms, a constant, a conversion that names its type, and a dense head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.twice, self.fc = nn.Conv2d(4, 5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.relu(self.twice(x * torch.tensor(0.1)).to(torch.float32) + torch.ones(5, 1, 1))
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def model() -> nn.Module:
    model = _Mixed().eval()
    model.norm.running_mean.normal_()
    model.norm.running_var.uniform_(0.5, 2)
    return model


def captured(model: nn.Module) -> Network:
    return capture(model, (3, 9, 8))


def in_double(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return both rectified layers and the answer, computed by hand."""
    m = copy.deepcopy(model).double()
    first = torch.relu(m.norm(m.conv(x.double()[None])))
    second = torch.relu(m.twice(first * torch.tensor(0.1).double()) + 1)
    return [first[0], second[0], m.fc(second.mean((2, 3)))[0]]


def test_it_gives_float64_of_the_same_weights(model: nn.Module) -> None:
    net, x = captured(model), torch.randn(3, 9, 8)
    layers = [net.layer(name) for name in ("relu", "relu_1", "fc")]
    with torch.no_grad():
        expected = in_double(model, x)
    found = ExactNetwork(net, layers)(x, [0, 1, 2])
    for own, right in zip(found, expected, strict=True):
        assert own.dtype == torch.float64
        torch.testing.assert_close(own, right, rtol=1e-13, atol=1e-13)
    # float32 would not do: it is off by much more.
    assert (net.features(layers)(x[None])[1][0].double() - expected[1]).abs().max() > 1e-9


def test_nothing_behind_the_wanted_layers_is_run(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = captured(model), torch.randn(3, 9, 8)
    exact, run = ExactNetwork(net, [net.layer("relu"), net.layer("fc")]), []
    steps, plain = exact._steps, exact._steps.call_function
    monkeypatch.setattr(steps, "call_function", lambda *of: run.append(str(of[0])) or plain(*of))
    (first,) = exact(x, [0])
    assert [name.rpartition("aten.")[2].partition(".")[0] for name in run if "aten" in name] == [
        "conv2d",
        "_native_batch_norm_legit_no_training",
        "relu",
    ]
    both = exact(x, [0, 1])
    assert len(run) > 8
    assert torch.equal(first, both[0])


def test_the_model_stays_as_it_is(model: nn.Module) -> None:
    before = copy.deepcopy(model.state_dict())
    net, x = captured(model), torch.randn(3, 9, 8)
    answer = net(x[None])
    ExactNetwork(net, [net.layer("fc")])(x, [0])
    assert all(torch.equal(own, before[name]) for name, own in model.state_dict().items())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(net(x[None]), answer)


class _PartlyHalf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of neighbours, computed in half precision."""
        return torch.relu((x.bfloat16()[:, :, 1:] + x.bfloat16()[:, :, :-1]).float())


def test_the_coarsest_numbers_anywhere_in_a_network_count(model: nn.Module) -> None:
    assert coarsest_eps(captured(model)) == torch.finfo(torch.float32).eps
    assert coarsest_eps(captured(_PartlyHalf())) == torch.finfo(torch.bfloat16).eps
    assert coarsest_eps(capture(nn.Conv2d(3, 2, 3).double(), (3, 9, 8))) == torch.finfo(torch.float64).eps


def test_a_device_without_float64_is_known_by_its_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_float64(torch.device("cpu"))

    def refuse(*_: object, **__: object) -> None:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    monkeypatch.setattr(torch, "zeros", refuse)
    assert not has_float64(torch.device("cpu"))
