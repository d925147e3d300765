"""A captured network only returns answers: it writes into no input, no buffer and no attribute of the model."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from backlight import Network, Unit, capture, project


class _Writing(nn.Module):
    """A small model that writes somewhere before or after its convolution."""

    def __init__(self, write: Callable[[_Writing, Tensor, Tensor | None], None]) -> None:
        super().__init__()
        self.conv, self.relu, self.write = nn.Conv2d(3, 4, 3), nn.ReLU(), write
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("which", torch.tensor([0, 3]))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.last: Tensor | None = None
        self.kept: list[Tensor] = []
        self.by_name: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.write(self, x, None)
        maps = self.conv(x)
        self.write(self, x, maps)
        return self.relu(maps - self.mean[:, None, None])


def _normalise(_: _Writing, x: Tensor, maps: Tensor | None) -> None:
    if maps is None:
        x.sub_(0.45).div_(0.22)


def _erase_a_corner(_: _Writing, x: Tensor, maps: Tensor | None) -> None:
    x[:, 0, :4, :4] = 0
    x[:, 1].mul_(2)


def _average(model: _Writing, _: Tensor, maps: Tensor | None) -> None:
    if maps is not None:
        model.calls += 1
        model.mean.mul_(0.9).add_(0.1 * maps.mean((0, 2, 3)))


def _write_parts_of_a_buffer(model: _Writing, _: Tensor, maps: Tensor | None) -> None:
    if maps is not None:
        model.mean[1:3] = maps.mean((0, 2, 3))[1:3]
        model.mean[model.which] += 1


def _cache(model: _Writing, _: Tensor, maps: Tensor | None) -> None:
    if maps is not None:
        model.last = maps
        if torch.__version__ >= (2, 14):  # older ones refuse these
            model.kept.append(maps)
            model.by_name["maps"] = maps


WRITES = [_normalise, _erase_a_corner, _average, _write_parts_of_a_buffer, _cache]


@pytest.mark.parametrize("write", WRITES)
def test_a_network_answers_like_the_model_and_changes_nothing(
    write: Callable[[_Writing, Tensor, Tensor | None], None],
) -> None:
    torch.manual_seed(0)
    model = _Writing(write).eval()
    state = copy.deepcopy(model.state_dict())
    net = capture(model, (3, 12, 12))
    fingerprint, x = net.fingerprint(), torch.rand(1, 3, 12, 12)
    kept = x.clone()
    first, second = net(x), net(x)
    assert torch.equal(x, kept)
    assert torch.equal(first, second)
    assert net.fingerprint() == fingerprint
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert (model.last, model.kept, model.by_name) == (None, [], {})
    with torch.no_grad():
        torch.testing.assert_close(first, copy.deepcopy(model)(x.clone()), rtol=0, atol=0)


def test_a_projection_after_a_call_equals_one_before() -> None:
    torch.manual_seed(0)
    net = capture(_Writing(_normalise), (3, 12, 12))
    x, unit = torch.rand(1, 3, 12, 12), [Unit("relu", 1, 2, 3)]
    before = project(net, x.clone(), unit)
    net(x)
    assert torch.equal(project(net, x, unit), before)


class _ReturnsItsBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += x.mean((0, 2, 3))
        return x * 2, self.seen


def test_a_buffer_that_is_returned_is_what_the_model_would_have_written() -> None:
    model = _ReturnsItsBuffer()
    net: Network = capture(model, (3, 4, 4))
    for _ in range(2):
        torch.testing.assert_close(net.module(torch.ones(1, 3, 4, 4))[1], torch.ones(3))
    assert not model.seen.any()
