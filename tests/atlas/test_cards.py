"""Cards: names and reasons come from files, so none of them is taken for HTML."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from backlight.atlas.cards import as_png, card, layer_table


def test_a_card_escapes_what_it_says() -> None:
    assert card("<b>map</b>", "a < b") == "<p>&lt;b&gt;map&lt;/b&gt;</p><p>No picture: a &lt; b.</p>"


def test_a_table_has_a_row_for_each_layer_and_escapes_names() -> None:
    table = layer_table("net & set", [("relu1", 8, 5), ("<script>", 12, 0)])
    assert table.startswith("<p>net &amp; set</p><table><tr><th>layer</th>")
    assert table.count("<tr>") == 3
    assert "<code>relu1</code></td><td>8</td><td>5</td>" in table
    assert "<code>&lt;script&gt;</code></td><td>12</td><td>0</td>" in table


def test_a_picture_comes_back_from_its_png() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    with Image.open(io.BytesIO(as_png(Image.fromarray(pixels)))) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), pixels)
