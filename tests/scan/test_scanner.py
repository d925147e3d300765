"""The scanner: batches do not show in what it adds, and only finite activations are added."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn

from backlight import capture, scan
from backlight.errors import ActivationError
from backlight.scan import Scan, Scanner, make_scanner
from conftest import captured_small_net


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


def test_a_batch_that_is_refused_leaves_the_scan_as_it_was() -> None:
    net, images = captured_small_net(), torch.randn(6, 3, 32, 32)
    scanner = make_scanner(net, net.default_layers, compiled=False, falls_back=True)
    state = Scan.empty(net.default_layers, 2)
    scanner.add(state, images[:3], range(3), ["0", "1", "2"])
    before = state.to_arrays()
    images[4] = torch.nan
    with pytest.raises(
        ActivationError, match=r"for image the second; check the weights and the preprocessing"
    ):
        scanner.add(state, images[3:], range(3, 6), ["the first", "the second", "the third"])
    for name, array in before.items():
        np.testing.assert_array_equal(state.to_arrays()[name], array)


def test_a_batch_of_no_image_adds_nothing() -> None:
    net = captured_small_net()
    state = Scan.empty(net.default_layers, 2)
    Scanner(net, net.default_layers).add(state, torch.zeros(0, 3, 32, 32), [], [])
    assert state.n_images == 0


def test_units_without_a_place_have_none_and_maps_have_rows_before_columns() -> None:
    net = captured_small_net()
    layers = [net.layer("relu1"), net.layer("fc")]
    state, images = Scan.empty(layers, 1), torch.randn(1, 3, 32, 32)
    Scanner(net, layers).add(state, images, [7], ["an image"])
    with torch.no_grad():
        (maps,) = net.features([layers[0]])(images)
    (row, col), hits = divmod(int(maps[0, 3].argmax()), 16), state.layers["relu1"].hits
    assert row != col
    assert hits.places[3, 0].tolist() == [row, col]
    assert hits.image_ids[3].tolist() == [7]
    assert (state.layers["fc"].hits.places == -1).all()


@pytest.mark.parametrize(("compiled", "steps"), [(False, []), (True, [("compile", 0, 1), ("compile", 1, 1)])])
def test_compiling_is_told_as_a_phase_of_its_own(
    monkeypatch: pytest.MonkeyPatch, compiled: bool, steps: list[tuple[str, int, int]]
) -> None:
    monkeypatch.setattr(import_module("backlight.scan.scanner"), "compile_frozen", lambda graph, _: graph)
    net, told = captured_small_net(), []
    scanner = make_scanner(net, net.default_layers, compiled, False, lambda *step: told.append(step))
    assert (scanner.is_compiled, told) == (compiled, steps)
