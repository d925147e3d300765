"""What studies found, in the words of captions."""

from __future__ import annotations

from dataclasses import replace

from backlight.atlas import Evidence, Foretold


def test_evidence_in_words_gives_the_controls_that_there_are() -> None:
    falls = {"guided": 0.5, "deconvnet": 0.4, "turned": 0.3, "centre": 0.25}
    own = Evidence(falls, "better than both", True, "guided", 3)
    assert own.text == "50% lost when covered (turned 30%, centre 25%): better than both"
    assert (
        replace(own, falls=falls | {"turned": None}).text
        == "50% lost when covered (centre 25%): better than both"
    )
    assert replace(own, falls=falls | {"guided": None}, verdict="no hits").text == "no hits"


def test_what_is_foretold_in_words() -> None:
    own = Foretold({"guided": 0.5, "centre": 0.25}, {"guided": 0.125, "centre": None}, (0.01, 0.24), 9)
    assert own.text == "foretells falls by 0.50, a disc 0.25; beyond distance 0.12 [0.01, 0.24] (n = 9)"
    few = replace(own, correlations={"guided": 0.5}, interval=None, n=1)
    assert few.text == "foretells falls by 0.50; beyond distance 0.12 (n = 1)"
    assert replace(own, partial={"guided": None}).text == "foretells nothing that can be measured"
