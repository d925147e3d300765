"""Figures of an atlas: what cannot be drawn is refused, and no file makes them too large."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import backlight
from atlas.in_memory import HEADING, feature_map
from backlight.atlas import Stability
from backlight.atlas.drawing import FigureLook, draw
from backlight.atlas.schema import writing
from backlight.errors import BadInputError
from backlight.render import MapPanel


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
