"""Pictures of adaptive networks: what each panel shows, in which order, on which scale; and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from adaptive.coded import SILENT, coded
from backlight.adaptive import (
    SWITCH_MODES,
    HitSearch,
    active_layers,
    decomposition_picture,
    filter_picture,
    find_hits,
    layer_picture,
    pictures,
    reconstruction_picture,
    switch_picture,
)
from backlight.adaptive.decomposition import strongest_activations
from backlight.adaptive.sheets import Row, sheet
from backlight.errors import BadInputError
from backlight.render import MapPanel


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """What is passed on to be drawn."""
    found: list[Row] = []

    def record(rows: Sequence[Row], *texts: str) -> Image.Image:
        found.extend(rows)
        return sheet(rows, *texts)

    monkeypatch.setattr(pictures, "sheet", record)
    return found


def test_the_filters_and_the_maps_of_a_layer() -> None:
    net, images, _ = coded()
    assert filter_picture(net).mode == "RGB"
    found = find_hits(net, images.numpy(), HitSearch(top=4))
    assert layer_picture(found, 2).size == layer_picture(found, 2, "a title").size
    with pytest.raises(BadInputError, match="layers 1, 2, 3 were searched, but layer 4 was asked for"):
        layer_picture(found, 4)


def test_maps_are_captioned_by_their_magnitudes(monkeypatch: pytest.MonkeyPatch) -> None:
    net, images, _ = coded()
    found = find_hits(net, np.concatenate([images.numpy(), images.numpy() * 0]), HitSearch((1,), (2,), top=4))
    shown: list[MapPanel] = []

    def record(panels: Sequence[MapPanel], *texts: str) -> Image.Image:
        shown.extend(panels)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(pictures, "layer_figure", record)
    layer_picture(found, 1)
    (panel,) = shown
    first, second = (abs(hit.value) for hit in found.maps[0].hits)
    assert (panel.label, panel.caption) == ("map 2", f"magnitude {first:.3g} to {second:.3g}")
    assert panel.note.endswith("2 of 4 hits")


def test_a_row_of_reconstructions_is_the_input_and_each_layer_with_its_error(rows: list[Row]) -> None:
    net, images, codes = coded()
    picture = reconstruction_picture(net, images, codes, ["one.png", "two.png"])
    assert picture.width < 1200
    assert [row.heading for row in rows] == ["one.png", "two.png"]
    for i, row in enumerate(rows):
        assert [panel.label for panel in row.panels] == ["input", "layer 1", "layer 2", "layer 3"]
        np.testing.assert_array_equal(row.panels[0].values[..., 0], images[i, 0])
        for layer, panel in enumerate(row.panels[1:], start=1):
            painted = net.reconstruct(codes, layer)[i, 0]
            np.testing.assert_array_equal(panel.values[..., 0], painted)
            error = (painted - images[i, 0]).square().sum().sqrt() / images[i, 0].square().sum().sqrt()
            assert panel.caption == f"error {error:.1%}"


def test_an_input_of_zeros_has_no_relative_error(rows: list[Row]) -> None:
    net, images, _ = coded()
    reconstruction_picture(net, images * 0, net.infer(images * 0), ["a", "b"], [2])
    assert [panel.caption for panel in rows[0].panels] == ["", "input is zero"]


def test_a_decomposition_adds_up_on_one_scale(rows: list[Row]) -> None:
    net, images, codes = coded()
    one = codes.of(1)
    decomposition_picture(net, images[1], one, 3)
    assert [row.heading for row in rows] == ["Layer 1", "Layer 2", "Layer 3"]
    for layer, row in enumerate(rows, start=1):
        given, *parts, added, whole = row.panels
        assert (given.label, added.label) == ("input", "sum of 3")
        assert whole.label == f"all {int(one[layer].pooled.count_nonzero())}"
        assert whole.caption.startswith("error ")
        activations = strongest_activations(one[layer].maps[0], layer, 3)
        assert [panel.label for panel in parts] == [f"map {own.channel}" for own in activations]
        assert parts[0].caption == f"{activations[0].value:.3g} at {activations[0].row}, {activations[0].col}"
        np.testing.assert_allclose(sum(panel.values for panel in parts), added.values, atol=1e-6)
        assert len({id(panel.reference) for panel in (*parts, added)}) == 1
        assert given.reference is None
        assert whole.reference is None


def test_every_use_of_switches_is_on_the_scale_of_the_full_one(rows: list[Row]) -> None:
    net, images, codes = coded()
    one = codes.of(0)
    switch_picture(net, images[0], one, [2])
    (row,) = rows
    assert [panel.label for panel in row.panels] == ["input", *SWITCH_MODES]
    for panel, mode in zip(row.panels[1:], SWITCH_MODES, strict=True):
        np.testing.assert_array_equal(panel.values[..., 0], net.reconstruct(one, 2, mode)[0, 0])
        assert panel.reference is not None
        np.testing.assert_array_equal(panel.reference, row.panels[1].values)


def test_silent_layers_are_left_out_unless_asked_for(rows: list[Row]) -> None:
    net, images, codes = coded(SILENT)
    assert active_layers(codes) == [1]
    decomposition_picture(net, images[0], codes.of(0))
    switch_picture(net, images[0], codes.of(0))
    assert [row.heading for row in rows] == ["Layer 1", "Layer 1"]
    with pytest.raises(BadInputError, match="the code of layer 2 is all zero"):
        decomposition_picture(net, images[0], codes.of(0), layers=[2])
    silence = net.infer(images[:1] * 0)
    for draw in (decomposition_picture, switch_picture):
        with pytest.raises(BadInputError, match="no layer has an activation"):
            draw(net, images[0] * 0, silence)
