"""The graph of a scan: the peaks of every layer are those of the maps that the network itself computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backlight import capture
from backlight.network import Network
from backlight.scan.peaks import Peaks, as_peaks, peaks_graph
from small_zoo import small_swin


def brute_force(maps: Tensor) -> Peaks:
    """Return the peaks of maps (n, c, h, w) by plain reductions."""
    flat = maps.flatten(2)
    return Peaks(flat.amax(2), flat.sum(2), flat.argmax(2))


def own_maps(net: Network, names: list[str], images: Tensor) -> list[Tensor]:
    """Return what the captured graph gives, nothing folded and nothing in place."""
    with torch.no_grad():
        return list(net.features([net.layer(name) for name in names])(images))


def assert_same(found: Peaks, expected: Peaks) -> None:
    torch.testing.assert_close(found.maxima.flatten(1), expected.maxima, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sums, expected.sums.to(found.sums.dtype), rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(found.places.flatten(1), expected.places)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_peaks_are_the_maximum_its_first_place_and_the_sum(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    maps = torch.randint(-3, 4, (5, 19, 7, 11)).to(dtype).contiguous(memory_format=layout)  # full of ties
    maps[0, 0] = -2.0
    found, expected = as_peaks(torch.ops.backlight.spatial_peaks(maps)), brute_force(maps)
    assert torch.equal(found.maxima.flatten(1), expected.maxima)
    assert torch.equal(found.places.flatten(1), expected.places)
    assert torch.equal(found.sums, maps.flatten(2).sum(2, dtype=found.sums.dtype))


def test_a_value_that_is_no_number_shows_in_the_peaks() -> None:
    maps = torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    maps[1, 2, 3, 0] = torch.nan
    found = as_peaks(torch.ops.backlight.spatial_peaks(maps))
    assert found.maxima.isnan().sum() == found.sums.isnan().sum() == 1
    assert found.maxima[1, 2].isnan().all()


class Branching(nn.Module):
    """A ReLU whose input is read twice, one whose input is a view, and batch norms after and without a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        for norm in (self.norm1, self.norm2):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
        self.shared, self.viewed, self.last = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (n, 8, h - 2, w - 2)."""
        x = self.norm1(self.conv1(x))
        y = self.conv2(self.shared(x)) - x
        z = self.viewed(y.reshape(y.shape[0], 4, 2, *y.shape[2:])).flatten(1, 2)
        return self.last(self.norm2(z + y))


def test_folding_and_writing_in_place_leave_every_layer_its_own_maps() -> None:
    model = Branching().eval()
    net = capture(model, (3, 20, 24))
    names = [layer.name for layer in net.layers]
    images = torch.randn(4, 3, 20, 24)
    expected = own_maps(net, names, images)
    graph = peaks_graph(net, [net.layer(name) for name in names])
    with torch.no_grad():
        found = graph(images.contiguous(memory_format=torch.channels_last))
    assert len(names) >= 5
    for peaks, maps in zip(found, expected, strict=True):
        assert_same(as_peaks(peaks), brute_force(maps))
    assert "relu_" in graph.code
    torch.testing.assert_close(own_maps(net, names, images), expected, rtol=0, atol=0)


def test_layers_with_channels_last_in_the_graph_are_read_as_maps() -> None:
    net = capture(small_swin().eval(), (3, 64, 64))
    layers = net.default_layers[:3]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = peaks_graph(net, layers)(images)
    for peaks, maps in zip(found, own_maps(net, [y.name for y in layers], images), strict=True):
        assert_same(as_peaks(peaks), brute_force(maps))
