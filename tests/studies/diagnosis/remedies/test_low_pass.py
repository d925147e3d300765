"""Low-passes before strides: binomial, sampled where the stride sampled, and nothing finer left to fold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import backlight
from backlight.errors import BadInputError, RemedyError
from backlight.studies.diagnosis.remedies import low_pass
from backlight.studies.diagnosis.remedies.low_pass import Blur, BlurredConv2d

X = torch.randn(2, 3, 13, 13, generator=torch.Generator().manual_seed(0))


def _blurred_in_loops(maps: Tensor, taps: list[float]) -> Tensor:
    """Return maps blurred along rows and columns, where the edge repeats outside, position by position."""
    reach, (height, width) = len(taps) // 2, maps.shape[2:]
    out = torch.zeros_like(maps)
    for row in range(height):
        for col in range(width):
            for i, down in enumerate(taps):
                for j, right in enumerate(taps):
                    y, x = (
                        min(max(at + k - reach, 0), size - 1)
                        for at, k, size in ((row, i, height), (col, j, width))
                    )
                    out[..., row, col] += down * right * maps[..., y, x]
    return out


@pytest.mark.parametrize(("stride", "taps"), [(2, [1, 2, 1]), (3, [1, 4, 6, 4, 1])])
def test_the_blur_is_binomial_and_sampled_from_the_first_position(stride: int, taps: list[int]) -> None:
    wanted = _blurred_in_loops(X, [own / sum(taps) for own in taps])
    torch.testing.assert_close(Blur((stride, stride), samples=False)(X), wanted)
    torch.testing.assert_close(Blur((stride, stride), samples=True)(X), wanted[..., ::stride, ::stride])


def test_a_grid_that_the_stride_cannot_carry_is_gone() -> None:
    board = (torch.arange(12)[:, None] + torch.arange(12)) % 2 * 2.0 - 1
    out = Blur((2, 2), samples=True)(board.expand(1, 1, 12, 12))
    # rows and columns of the border apart, where the edge repeats
    assert float(out[..., 1:, 1:].abs().max()) < 1e-6
    assert float(board[::2, ::2].abs().max()) == 1


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(4, 5, 1), nn.ReLU(), nn.AvgPool2d(2),
    ).eval()  # fmt: skip


def test_behind_the_rectifier_the_convolution_has_the_stride_one() -> None:
    model = _model()
    found = low_pass(model, backlight.capture(model, (3, 13, 13)))
    dense = F.relu(model[1](F.conv2d(X, model[0].weight, model[0].bias, padding=1)))
    sampled = _blurred_in_loops(dense, [0.25, 0.5, 0.25])[..., ::2, ::2]
    torch.testing.assert_close(found.model[:3](X), sampled)
    pooled = _blurred_in_loops(F.max_pool2d(sampled, 3, 1, 1), [0.25, 0.5, 0.25])[..., ::2, ::2]
    torch.testing.assert_close(found.model[:4](X), pooled)
    assert found.done == "low-pass before the stride of '0', '3'"
    assert (model[0].stride, found.model[0].stride, found.model[6]) != (
        model[0].stride,
        model[0].stride,
        None,
    )
    assert type(found.model[6]) is nn.AvgPool2d


def test_before_the_convolution_its_maps_are_blurred() -> None:
    model = _model()
    new = low_pass(model, backlight.capture(model, (3, 13, 13)), "2", "before").model
    wanted = F.conv2d(_blurred_in_loops(X, [0.25, 0.5, 0.25]), model[0].weight, model[0].bias, 2, 1)
    torch.testing.assert_close(new[0](X), wanted)
    assert isinstance(new[0], BlurredConv2d)
    assert type(new[3]) is nn.MaxPool2d  # above the layer


@pytest.mark.parametrize("place", ["before", "after"])
def test_weights_keep_their_names_and_sizes_and_the_network_is_known_throughout(place: str) -> None:
    model = _model()
    new = low_pass(model, backlight.capture(model, (3, 13, 13)), place=place).model
    assert {name: own.shape for name, own in new.state_dict().items()} == {
        name: own.shape for name, own in model.state_dict().items()
    }
    net = backlight.capture(new, (3, 13, 13))
    assert "unknown" not in {str(entry.kind) for entry in net.coverage().entries}
    assert new(X).shape == model(X).shape


def test_of_a_layer_the_nearest_stride_below_is_taken() -> None:
    model = _model()
    new = low_pass(model, backlight.capture(model, (3, 13, 13)), "5").model
    assert type(new[2]) is nn.ReLU
    assert [type(own) for own in new[3]] == [nn.MaxPool2d, Blur]


def test_where_no_rectifier_is_its_own_the_blur_is_before() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.relu = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 1), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.two(self.relu(self.one(x))))

    model = Shared().eval()
    new = low_pass(model, backlight.capture(model, (3, 13, 13))).model
    assert isinstance(new.one, BlurredConv2d)
    assert type(new.relu) is nn.ReLU


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2)),
            "nothing in Sequential has a stride",
        ),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), Pooled()), "'1.max_pool2d' is called as a function"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2, 2, ceil_mode=True)),
            r"the last windows of '1' hang over the border of its maps \(ceil_mode\)",
        ),
    ],
)
def test_what_cannot_be_replaced_has_one_reason(make: Callable[[], nn.Module], reason: str) -> None:
    model = make().eval()
    with pytest.raises(RemedyError, match=rf"^{reason}"):
        low_pass(model, backlight.capture(model, (3, 13, 13)))


def test_places_are_checked() -> None:
    model = _model()
    with pytest.raises(BadInputError, match=r"^place must be one of 'before', 'after', got 'behind'$"):
        low_pass(model, backlight.capture(model, (3, 13, 13)), place="behind")
