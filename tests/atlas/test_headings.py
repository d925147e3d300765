"""Headings: what stands above the pictures of a layer."""

from __future__ import annotations

from atlas.in_memory import FIELD, HEADING
from backlight.atlas.headings import Heading
from backlight.geometry import ReceptiveField


def test_a_heading_says_what_was_done() -> None:
    assert HEADING.title == "Net · relu1"
    assert HEADING.subtitle() == (
        "8 feature maps; 100 images; deconvnet projections; active: share of the images in which the map is above zero"
    )
    gated = ReceptiveField(FIELD.rows, FIELD.cols, gates_ignored=True)
    own = Heading("Net", "relu1", 8, 3, "guided projections", gated, 1000, "evidence")
    assert "guided projections (gates held fixed); a part; active" in own.subtitle("a part")
    assert own.subtitle().endswith("above zero; evidence")
    assert own.n_places == 64
    assert own.subtitle("", has_stability=True).endswith(
        "above zero; stable: ranks at which two halves of the images would have hits of equal strength, within 10 %; "
        "evidence"
    )
