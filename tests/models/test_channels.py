"""The number of input channels of a model: found by running it, which leaves it as it was."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from backlight.models import input_channels


class ScaleBefore(nn.Module):
    """A parameter with four axes that comes before the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 6, 1, 1))
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.scale


class NormalisesItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.48, 0.46, 0.41]).view(1, 3, 1, 1))
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x - self.mean)


class Grey(nn.Module):
    """Repeats its one channel: three channels would become nine."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.repeat(1, 3, 1, 1))


class Averaging(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True).relu()


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(nn.Conv2d(3, 6, 3))


MODELS = {
    "old weight norm": (old_weight_norm(), 3),
    "parameter before the convolution": (ScaleBefore(), 3),
    "own mean, parametrised weight norm": (NormalisesItself(), 3),
    "depthwise first": (nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 6, 1)), 3),
    "transposed first": (nn.ConvTranspose2d(3, 8, 3), 3),
    "grey transposed": (nn.ConvTranspose2d(1, 3, 3), 1),
    "grey": (nn.Conv2d(1, 3, 3), 1),
    "grey, repeated": (Grey(), 1),
    "grey, half": (nn.Conv2d(1, 3, 3).half(), 1),
    "multispectral": (nn.Conv2d(13, 4, 3), 13),
    "any": (Averaging(), 3),
    "wrapped": (nn.DataParallel(nn.Conv2d(1, 3, 3)), 1),
    "rearranged": (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 2, 3)), 1),
    "not of this size": (nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten(), nn.Linear(2 * 24 * 24, 3)), 1),
    "a vector": (nn.Linear(3, 2), 3),
    "lazy": (nn.LazyConv2d(4, 3), 3),
}


@pytest.mark.parametrize("name", MODELS)
def test_channels_are_those_with_which_the_model_runs(name: str) -> None:
    model, channels = MODELS[name]
    assert input_channels(model, (16, 16)) == channels


class Remembers(nn.Module):
    """Changes everything that a forward can change, and reads grey images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.register_buffer("n_seen", torch.zeros(1))
        self.register_buffer("largest", torch.zeros(1))
        self.table = [torch.zeros(1)]
        self.kept: list[Tensor] = []
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_seen.add_(1)
        self.table[0] += 1
        self.largest = x.amax() + self.largest
        self.conv.weight.data.clamp_(0, 0)
        self.kept.append(x)
        self.calls += 1
        self.last = x
        return self.norm(self.conv(x + torch.rand(1)))


def test_the_model_and_the_random_numbers_are_left_as_they_were() -> None:
    model = Remembers().train()
    model.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seeds = torch.get_rng_state()
    assert input_channels(model, (16, 16)) == 1
    assert model.training and model.conv.training and not model.norm.training
    assert model.calls == 0 and model.kept == [] and not hasattr(model, "last")
    assert type(model.largest) is Tensor and model.table[0].item() == 0
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), seeds)


def test_a_deep_model_is_not_run_to_its_end() -> None:
    class Counting(nn.Identity):
        n_calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.n_calls += 1
            return x + 1

    model = nn.Sequential(nn.Conv2d(3, 2, 1), *(Counting() for _ in range(500)))
    assert input_channels(model, (8, 8)) == 3
    assert Counting.n_calls < 200


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_a_script_module_stays_in_its_mode() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))).train()
    assert input_channels(model, (8, 8)) == 1
    assert model.training and model[1].training


def test_a_compiled_model_is_not_compiled_for_it() -> None:
    def fail(*_: object) -> None:
        pytest.fail("it was compiled")

    assert input_channels(torch.compile(nn.Conv2d(1, 2, 3), backend=fail), (8, 8)) == 1
