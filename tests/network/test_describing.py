"""What a network says of itself: its fingerprint, and its layers as a table."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import nn

from backlight import capture
from backlight.geometry import Axis, ReceptiveField
from backlight.network import Layer, describe_field
from backlight.network.describing import LayerTable, table_of_layers
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


def layer(field: ReceptiveField | None) -> Layer:
    return Layer("a<b", "relu", (4, 6, 5), field, rectified=True, is_default=True, order=(0, 1, 2, 3))


def test_a_receptive_field_in_words_is_rows_by_columns_and_the_stride_of_the_rows() -> None:
    rows, cols = Axis(7, Fraction(2), -3), Axis(5, Fraction(2), -2)
    assert describe_field(layer(ReceptiveField(rows, cols))) == "7x5 every 2"
    ignoring = ReceptiveField(rows, cols, gates_ignored=True)
    assert describe_field(layer(ignoring)) == "7x5 every 2, gates ignored"
    for whole in (None, ReceptiveField.whole(32, 24)):
        assert describe_field(layer(whole)) == "whole image"


def test_a_table_of_layers_holds_names_and_title_as_text_not_as_tags() -> None:
    html = table_of_layers("Net<x>", [layer(None), layer(None)])
    assert html.startswith("<p>Net&lt;x&gt;</p><table>")
    row = "<td style='text-align:left'><code>a&lt;b</code></td><td>4</td><td>6×5</td><td>whole image</td>"
    assert html.count(f"<tr>{row}</tr>") == 2


def test_a_layer_is_one_short_line() -> None:
    rows, cols = Axis(7, Fraction(2), -3), Axis(5, Fraction(2), -2)
    assert repr(layer(ReceptiveField(rows, cols))) == "Layer('a<b', 4 maps 6x5, sees 7x5 every 2)"
    assert repr(layer(None)) == "Layer('a<b', 4 maps 6x5, sees the whole image)"
    vector = Layer("fc", "linear", (1,), None, rectified=False, is_default=False, order=(0, 1))
    assert repr(vector) == "Layer('fc', 1 unit, sees the whole image)"


def test_layers_are_a_tuple_and_a_table() -> None:
    net = captured_squeezenet()
    for layers in (net.layers, net.default_layers):
        assert isinstance(layers, tuple)
        assert layers == tuple(layers)
        assert layers[1:3] == (layers[1], layers[2])
        assert repr(layers).count("\n") == len(layers) - 1
        assert layers._repr_html_() == table_of_layers(f"{len(layers)} layers", layers)
    assert repr(LayerTable([layer(None)])) == "(Layer('a<b', 4 maps 6x5, sees the whole image),)"
    assert LayerTable([layer(None)])._repr_html_().startswith("<p>1 layer</p><table>")
