"""What a network says of itself: its fingerprint, and its layers as a table."""

from __future__ import annotations

import torch
from torch import nn

from backlight import capture
from small_zoo import captured_squeezenet


def test_the_fingerprint_tells_weights_apart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    first = capture(model, (3, 8, 8)).fingerprint()
    assert capture(model, (3, 8, 8)).fingerprint() == first
    with torch.no_grad():
        model[0].bias[0] += 1
    assert capture(model, (3, 8, 8)).fingerprint() != first


def test_notebooks_show_the_layers() -> None:
    html = captured_squeezenet()._repr_html_()
    assert "<td style='text-align:left'><code>features.3.squeeze_activation</code></td><td>16</td>" in html
