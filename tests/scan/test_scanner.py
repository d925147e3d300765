"""The scanner: batches do not show in what it adds, and only finite activations are added."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from backlight import capture, scan
from backlight.errors import ActivationError


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_activation_that_is_not_finite_names_layer_and_image(small_net: nn.Module, value: float) -> None:
    images = torch.randn(8, 3, 32, 32)
    images[5, 0, 3, 3] = value
    with pytest.raises(ActivationError, match=r"layer 'relu1' .* image number 5"):
        scan(capture(small_net, (3, 32, 32)), images, batch_size=3)


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
