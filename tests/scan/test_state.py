"""The state of a scan: how it begins, and how it is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from backlight import capture, scan
from backlight.errors import BadInputError
from backlight.scan import Scan, make_scanner


def test_top_below_one_is_refused(small_net: nn.Module) -> None:
    with pytest.raises(BadInputError, match="at least 1, got 0"):
        scan(capture(small_net, (3, 32, 32)), torch.randn(2, 3, 32, 32), top=0)


def test_a_scan_survives_a_round_trip_through_arrays(small_net: nn.Module) -> None:
    net = capture(small_net, (3, 32, 32))
    images = torch.randn(9, 3, 32, 32)
    found = scan(net, images, top=3)
    again = Scan.from_arrays(list(found.layers), found.to_arrays())
    assert again.n_images == 9
    other = scan(net, images, top=3)
    for name in found.layers:
        np.testing.assert_array_equal(again.layers[name].hits.values, other.layers[name].hits.values)
        np.testing.assert_array_equal(
            again.layers[name].statistics.histogram, other.layers[name].statistics.histogram
        )


def test_an_unfinished_scan_of_an_earlier_version_resumes(small_net: nn.Module) -> None:
    net, images = capture(small_net, (3, 32, 32)), torch.randn(12, 3, 32, 32)
    found, whole = scan(net, images[:5], ["relu2"]), scan(net, images, ["relu2"])
    arrays = found.to_arrays()
    arrays["0.sums"] = arrays.pop("0.sum_parts").sum(0)  # it added in one part
    again = Scan.from_arrays(["relu2"], arrays)
    scanner = make_scanner(net, [net.layer("relu2")], compiled=False, falls_back=True)
    scanner.add(again, images[5:], range(5, 12), ["an image"] * 7)
    means = [own.layers["relu2"].statistics.means for own in (again, whole)]
    np.testing.assert_allclose(*means, rtol=1e-6)
