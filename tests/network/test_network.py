"""A captured network: what it takes and gives, and the layers that it knows by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backlight import capture, project, strongest
from backlight.errors import BadInputError, UnknownLayerError
from small_zoo import captured_squeezenet


def test_an_example_that_is_not_an_image_is_refused() -> None:
    with pytest.raises(BadInputError, match="an example is"):
        capture(nn.Identity(), torch.zeros(3, 5))


def test_an_unknown_layer_is_named_with_the_closest_one() -> None:
    net = captured_squeezenet()
    with pytest.raises(
        UnknownLayerError, match=r"no layer 'features\.3\.cta'; did you mean 'features\.3\.cat'"
    ):
        net.layer("features.3.cta")


class _TakesPixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x.float() / 255))


def test_whole_numbers_are_given_as_floating_ones_and_scaled_by_the_model() -> None:
    torch.manual_seed(0)
    model, x = _TakesPixels(), torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    net = capture(model, x)
    assert net.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(net(net.prepare(x)), model(x))
    picture = project(net, x, strongest(net, x, "relu", 1))
    assert picture.dtype == torch.float32
    assert picture.any()


@pytest.mark.parametrize("dtype", [torch.half, torch.double])
def test_an_example_gets_the_floating_type_of_the_weights(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).to(dtype)
    assert capture(model, torch.rand(1, 3, 8, 8)).dtype == dtype
