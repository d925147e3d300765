"""The scan over a network: what it finds, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from backlight import Preprocessing, capture, scan
from backlight.errors import ActivationError, BadInputError
from backlight.images import SequenceSource, open_images
from backlight.scan import Scan, make_scanner


def test_a_scan_finds_the_maxima_of_the_models_own_maps(small_net: nn.Module) -> None:
    images = torch.randn(23, 3, 32, 32)
    found = scan(capture(small_net, (3, 32, 32)), images, ["relu2", "fc"], top=5, batch_size=7)
    small_net.eval()
    with torch.no_grad():
        maps = small_net.relu2(small_net.conv2(small_net.pool(small_net.relu1(small_net.conv1(images)))))
    hits = found.layers["relu2"].hits
    for channel in range(12):
        best = maps[:, channel].flatten(1).max(1)
        order = torch.argsort(best.values, descending=True, stable=True)[:5]
        np.testing.assert_allclose(hits.values[channel], best.values[order], rtol=1e-5)
        np.testing.assert_array_equal(hits.image_ids[channel], order)
        np.testing.assert_array_equal(
            hits.places[channel], torch.stack([best.indices // 8, best.indices % 8], 1)[order]
        )
    statistics = found.layers["relu2"].statistics
    np.testing.assert_allclose(statistics.means, maps.mean((0, 2, 3)), rtol=1e-5)
    assert (found.layers["fc"].hits.places == -1).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_activation_that_is_not_finite_names_layer_and_image(small_net: nn.Module, value: float) -> None:
    images = torch.randn(8, 3, 32, 32)
    images[5, 0, 3, 3] = value
    with pytest.raises(ActivationError, match=r"layer 'relu1' .* image number 5"):
        scan(capture(small_net, (3, 32, 32)), images, batch_size=3)


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


def test_pictures_need_a_preprocessing(small_net: nn.Module, picture_folder) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInputError, match="captured without preprocessing"):
        scan(capture(small_net, (3, 32, 32)), open_images(picture_folder))


def test_bad_pictures_are_skipped_and_listed(small_net: nn.Module, picture_folder) -> None:  # type: ignore[no-untyped-def]
    (picture_folder / "a" / "010x.jpg").write_text("not a picture")
    net = capture(small_net, (3, 32, 32), Preprocessing.default(3, 32))
    found = scan(net, open_images(picture_folder), batch_size=8)
    assert found.n_images == 40
    assert [s.path for s in found.skipped] == ["a/010x.jpg"]


def test_top_below_one_is_refused(small_net: nn.Module) -> None:
    with pytest.raises(BadInputError, match="at least 1, got 0"):
        scan(capture(small_net, (3, 32, 32)), torch.randn(2, 3, 32, 32), top=0)


def test_progress_is_reported_in_images(small_net: nn.Module) -> None:
    seen: list[tuple[str, int, int]] = []
    net = capture(small_net, (3, 32, 32), Preprocessing.default(3, 32))
    from PIL import Image

    source = SequenceSource([Image.new("RGB", (40, 40))] * 5)
    scan(net, source, batch_size=2, progress=lambda *step: seen.append(step))
    assert seen == [("scan", 2, 5), ("scan", 4, 5), ("scan", 5, 5)]


@pytest.mark.parametrize("batch_size", [1, 3, 8, 32])
def test_the_batch_size_does_not_show_in_a_bit_of_the_results(small_net: nn.Module, batch_size: int) -> None:
    net = capture(small_net, (3, 32, 32))
    images = torch.randn(21, 3, 32, 32)
    images[13], images[17] = images[2], images[2]  # ties go by the id, whichever batch they come in
    expected = scan(net, images, top=6, batch_size=21).to_arrays()
    found = scan(net, images, top=6, batch_size=batch_size).to_arrays()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    for layer in scan(net, images, top=21).layers.values():
        for ids in layer.hits.image_ids.tolist():
            assert ids.index(2) < ids.index(13) < ids.index(17)


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
