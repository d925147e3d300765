"""The state of a scan: how it begins, and how it is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backlight import capture, scan
from backlight.errors import BadInputError
from backlight.images import Skipped
from backlight.network import Network
from backlight.scan import Scan, make_scanner
from conftest import captured_small_net


def test_top_below_one_is_refused(small_net: nn.Module) -> None:
    with pytest.raises(BadInputError, match="at least 1, got 0"):
        scan(capture(small_net, (3, 32, 32)), torch.randn(2, 3, 32, 32), top=0)


def test_a_scan_survives_a_round_trip_through_arrays(small_net: nn.Module) -> None:
    net = capture(small_net, (3, 32, 32))
    images = torch.randn(9, 3, 32, 32)
    found = scan(net, images, top=3)
    again = Scan.from_arrays(list(found.layers), found.to_arrays())
    assert again.n_images == 9
    assert repr(found) == repr(again) == "Scan(2 layers, 20 maps, 9 images)"
    assert repr(found.layers["relu1"]) == "LayerScan(8 maps, 9 images)"
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


def test_a_scan_begins_with_no_image_and_a_place_for_each_hit() -> None:
    layers = captured_small_net().default_layers
    state = Scan.empty(layers, 4)
    assert list(state.layers) == [layer.name for layer in layers]
    assert (state.n_images, state.skipped) == (0, [])
    for layer in layers:
        hits = state.layers[layer.name].hits
        assert hits.values.shape == (layer.n_maps, 4)
        assert (hits.image_ids == -1).all()
    assert Scan.empty([], 1).n_images == 0


def parts_of(net: Network, images: Tensor, *ranges: range) -> list[Scan]:
    """Return a scan of each range of the images."""
    scanner = make_scanner(net, net.default_layers, compiled=False, falls_back=True)
    found = []
    for ids in ranges:
        state = Scan.empty(net.default_layers, 3)
        scanner.add(state, images[ids.start : ids.stop], ids, [f"{i}" for i in ids])
        state.skipped.append(Skipped(100 - ids.start, "bad.png", "bad"))
        found.append(state)
    return found


def test_scans_of_two_parts_merge_to_that_of_all_and_list_skipped_images_by_id() -> None:
    net, images = captured_small_net(), torch.randn(12, 3, 32, 32)
    one, other, whole = parts_of(net, images, range(5), range(5, 12), range(12))
    for merged in (one.merge(other), other.merge(one)):
        assert merged.n_images == 12
        assert [skipped.id for skipped in merged.skipped] == [95, 100]
        for name, array in whole.to_arrays().items():
            np.testing.assert_array_equal(merged.to_arrays()[name], array)


def test_a_scan_after_another_may_leave_out_what_cannot_stay_in_their_merge() -> None:
    net, images = captured_small_net(), torch.randn(12, 3, 32, 32)
    first, second, whole = parts_of(net, images, range(8), range(8, 12), range(12))
    after = first.after()
    assert after.n_images == 0
    scanner = make_scanner(net, net.default_layers, compiled=False, falls_back=True)
    scanner.add(after, images[8:], range(8, 12), ["an image"] * 4)
    kept, all_of_them = (
        sum(int((layer.hits.image_ids >= 0).sum()) for layer in state.layers.values())
        for state in (after, second)
    )
    assert kept < all_of_them
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(first.merge(after).to_arrays()[name], array)
