"""Sources: the layers that feed a layer directly, whatever lies between."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backlight import capture
from backlight.network.sources import direct_sources


class Skips(nn.Module):
    """A stem, a residual block whose skip also takes the image, and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = (nn.Conv2d(n, 3, 3, padding=1) for n in (3, 3, 3))
        self.gate = nn.Conv2d(3, 3, 1)
        self.relu, self.last = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 3, h, w)."""
        stem = self.stem(x)
        out = self.second(self.relu(self.first(stem))) + stem
        gate = self.gate(out.mean((2, 3), keepdim=True)).sigmoid()
        return self.last(out * gate + x)


def sources(*layers: str) -> dict[str, tuple[str, ...]]:
    torch.manual_seed(0)
    net = capture(Skips(), (3, 8, 8))
    return direct_sources({name: net.node(name) for name in layers})


def test_they_are_the_nearest_layers_of_those_that_are_asked_for() -> None:
    assert sources("stem", "first", "relu", "second", "last") == {
        "stem": ("",),
        "first": ("stem",),
        "relu": ("first",),
        "second": ("relu",),
        "last": ("", "stem", "second"),
    }


def test_what_is_not_asked_for_is_walked_over() -> None:
    assert sources("relu", "last") == {"relu": ("",), "last": ("", "relu")}
    assert sources("last") == {"last": ("",)}


def test_a_gate_reads_what_it_gates() -> None:
    assert sources("add", "gate", "last") == {"add": ("",), "gate": ("add",), "last": ("", "add", "gate")}
