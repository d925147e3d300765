"""Figures of an atlas: what cannot be drawn is refused, and no file makes them too large."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import backlight
from atlas.in_memory import HEADING, feature_map
from backlight.atlas import Stability
from backlight.atlas.drawing import FigureLook, draw
from backlight.atlas.headings import Heading
from backlight.atlas.schema import writing
from backlight.errors import BadInputError
from backlight.geometry import Axis, ReceptiveField
from backlight.render import MapPanel, low_pass


def test_filters_of_a_deeper_layer_are_refused() -> None:
    with pytest.raises(BadInputError, match="layer 'relu1' does not read the pixels directly"):
        draw("filters_figure", HEADING, None, None)


def test_an_atlas_for_many_hits_of_few_images_has_figures_of_bounded_size(tiny: Path) -> None:
    with writing(tiny) as connection:
        (text,) = connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
        changed = json.loads(text)
        changed["plan"]["top"] = 64
        connection.execute("UPDATE meta SET value = ? WHERE key = 'identity'", (json.dumps(changed),))
    size = backlight.open_atlas(tiny).figure("3").size
    with writing(tiny) as connection:
        changed["plan"]["top"] = 100_000
        connection.execute("UPDATE meta SET value = ? WHERE key = 'identity'", (json.dumps(changed),))
    assert backlight.open_atlas(tiny).figure("3").size == size


def test_receptive_fields_too_large_to_be_added_are_refused(tiny: Path) -> None:
    with writing(tiny) as connection:
        (text,) = connection.execute("SELECT description FROM layer WHERE name = '3'").fetchone()
        changed = json.loads(text)
        for axis in ("rows", "cols"):
            changed["receptive_field"][axis][::2] = 100_000, -50_000  # the whole image and far beyond
        connection.execute("UPDATE layer SET description = ? WHERE name = '3'", (json.dumps(changed),))
        connection.execute("UPDATE hit SET patch = x, projection = y FROM (SELECT patch AS x, projection AS y FROM hit "
                           "WHERE layer_id = 2) WHERE layer_id = 1 AND projection IS NOT NULL")  # fmt: skip
    with pytest.raises(BadInputError, match="too large to be added up"):
        backlight.open_atlas(tiny).superposed("3", full_field=True)


@pytest.mark.parametrize("top", [0, -1])
def test_a_top_below_one_is_refused(tiny: Path, top: int) -> None:
    with pytest.raises(BadInputError, match=f"number of hits to superpose, at least 1, got {top}"):
        backlight.open_atlas(tiny).superposed("3", top=top)


@pytest.mark.parametrize(
    ("figure", "drawing"), [("map_figure", "layer_figure"), ("superposed_figure", "overlay_figure")]
)
def test_the_caption_of_a_map_says_how_stable_it_is_and_the_legend_what_that_means(
    monkeypatch: pytest.MonkeyPatch, figure: str, drawing: str
) -> None:
    drawn: list[tuple[list[str], str]] = []

    def note(panels: Sequence[MapPanel], title: str, subtitle: str, terms: str, **_: object) -> Image.Image:
        drawn.append(([panel.caption for panel in panels], terms))
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(f"backlight.atlas.figures.{drawing}", note)
    unknown, known = feature_map(), replace(feature_map(), stability=Stability(7, 9))
    for maps in ([unknown, known], [unknown]):
        draw(figure, HEADING, maps, FigureLook("std"))
    (captions, terms), (other_captions, other_terms) = drawn
    assert captions == ["max 2, active in 50%", "max 2, active in 50%, 7 of 9 stable"]
    assert other_captions == captions[:1]
    assert "Stable: ranks at which" in terms
    assert "Stable" not in other_terms


def heading_of_stride(stride: int) -> Heading:
    return replace(HEADING, receptive_field=ReceptiveField(*[Axis(4, Fraction(stride), 0)] * 2))


def test_a_low_pass_averages_over_half_a_stride_and_the_figure_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[tuple[list[MapPanel], str]] = []

    def note(panels: Sequence[MapPanel], title: str, subtitle: str, **_: object) -> Image.Image:
        drawn.append((list(panels), subtitle))
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr("backlight.atlas.figures.layer_figure", note)
    for is_averaged in (False, True):
        look = FigureLook("std", full_field=True, low_pass=is_averaged)
        draw("map_figure", heading_of_stride(4), [feature_map()], look)
    ((before,), plain), ((after,), said) = drawn
    one, other = before.tiles[0], after.tiles[0]
    assert one.projection[1, 2].tolist() == [1, 1, 1]
    averaged = low_pass(one.projection.transpose(2, 0, 1), (2, 2)).transpose(1, 2, 0)
    np.testing.assert_array_equal(other.projection, averaged)
    np.testing.assert_allclose(other.projection[1:3, 2:4], 0.25, atol=1e-6)
    np.testing.assert_array_equal(other.patch, one.patch)
    assert "projections averaged over 2 x 2 pixels, half a stride of the layer" in said
    assert "averaged" not in plain


@pytest.mark.parametrize("heading", [HEADING, replace(HEADING, receptive_field=None)])
def test_a_low_pass_over_less_than_two_pixels_is_refused(heading: Heading) -> None:
    look = FigureLook(low_pass=True)
    with pytest.raises(BadInputError, match="half a stride of layer 'relu1' is less than 2 pixels"):
        draw("map_figure", heading, [feature_map()], look)


def test_an_atlas_draws_a_layer_with_a_low_pass(tiny: Path) -> None:
    with pytest.raises(BadInputError, match="half a stride of layer '3' is less than 2 pixels"):
        backlight.open_atlas(tiny).figure("3", low_pass=True)
