"""Figures take a heading and feature maps, wherever those come from: no atlas file is needed."""

from __future__ import annotations

from atlas.in_memory import HEADING, InMemory, feature_map
from backlight.atlas.drawing import FigureLook, draw
from backlight.atlas.records import TileSource


def test_figures_are_drawn_without_a_file() -> None:
    own = feature_map()
    assert isinstance(InMemory(), TileSource)
    assert draw("map_figure", HEADING, [own], FigureLook()) == own.figure()
    assert draw("superposed_figure", HEADING, [own], FigureLook(columns=1)).width > 100
    assert own._repr_png_().startswith(b"\x89PNG")
    assert own.hits[0]._repr_png_().startswith(b"\x89PNG")
