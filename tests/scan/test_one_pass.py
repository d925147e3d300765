"""The scan over a network: what it finds, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from backlight import Preprocessing, capture, scan
from backlight.errors import BadInputError, UnknownLayerError
from backlight.images import SequenceSource, open_images
from backlight.scan import choose_layers
from conftest import captured_small_net


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


def test_pictures_need_a_preprocessing(small_net: nn.Module, picture_folder) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInputError, match="captured without preprocessing"):
        scan(capture(small_net, (3, 32, 32)), open_images(picture_folder))


def test_bad_pictures_are_skipped_and_listed(small_net: nn.Module, picture_folder) -> None:  # type: ignore[no-untyped-def]
    (picture_folder / "a" / "010x.jpg").write_text("not a picture")
    net = capture(small_net, (3, 32, 32), Preprocessing.default(3, 32))
    found = scan(net, open_images(picture_folder), batch_size=8)
    assert found.n_images == 40
    assert [s.path for s in found.skipped] == ["a/010x.jpg"]


def test_progress_is_reported_in_images(small_net: nn.Module) -> None:
    seen: list[tuple[str, int, int]] = []
    net = capture(small_net, (3, 32, 32), Preprocessing.default(3, 32))
    from PIL import Image

    source = SequenceSource([Image.new("RGB", (40, 40))] * 5)
    scan(net, source, batch_size=2, progress=lambda *step: seen.append(step))
    assert seen == [("scan", 2, 5), ("scan", 4, 5), ("scan", 5, 5)]


def test_layers_come_each_once_in_the_order_of_the_graph() -> None:
    net = captured_small_net()
    assert [layer.name for layer in choose_layers(net, ["fc", "relu1", "fc"])] == ["relu1", "fc"]
    assert choose_layers(net, None) == net.default_layers
    assert choose_layers(net, []) == ()
    with pytest.raises(UnknownLayerError, match="conv9"):
        choose_layers(net, ["relu1", "conv9"])


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(BadInputError, match="captured for inputs of 3x32x32, got 1x3x24x24"):
        scan(captured_small_net(), torch.zeros(1, 3, 24, 24))
