"""Headings: what stands above the pictures of a layer."""

from __future__ import annotations

from atlas.in_memory import FIELD, HEADING
from backlight.atlas.headings import Heading
from backlight.geometry import ReceptiveField


def test_a_heading_says_what_was_done() -> None:
    assert HEADING.title == "Net · relu1"
    assert HEADING.subtitle() == "8 feature maps; 100 images; deconvnet projections"
    gated = ReceptiveField(FIELD.rows, FIELD.cols, gates_ignored=True)
    own = Heading("Net", "relu1", 8, 3, "guided", gated, 1000, "evidence", is_chosen=True)
    assert own.subtitle("a part", ["deconvnet"]) == (
        "8 feature maps; 3 images; guided and deconvnet projections (rules chosen layer by layer) "
        "(gates held fixed); a part; evidence"
    )
    assert own.n_places == 64


def test_a_heading_explains_the_words_of_captions() -> None:
    assert HEADING.terms() == "Active: share of the images in which the map is above zero."
    assert HEADING.terms(has_stability=True) == (
        "Active: share of the images in which the map is above zero. Stable: ranks at which two halves of the images "
        "would have hits of equal strength, within 10 %."
    )
