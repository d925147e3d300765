"""Links: names that anybody may have chosen become addresses that are safe, and stay apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.web import links


@given(st.lists(st.text(max_size=100), unique=True, max_size=8))
def test_slugs_are_plain_and_of_one_name_each(names: list[str]) -> None:
    found = links.slugs(names)
    assert list(found) == names
    assert len({slug.casefold() for slug in found.values()}) == len(names)
    for slug in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", slug)
        assert len(slug) < 100


def test_a_usual_name_stays_as_it_is() -> None:
    name = "features.4.expand3x3_activation"
    assert links.slugs([name]) == {name: name}


@pytest.mark.parametrize(("n", "pages"), [(0, 1), (1, 1), (64, 1), (65, 2), (1000, 16)])
def test_pages_hold_64(n: int, pages: int) -> None:
    assert links.n_pages(n) == pages
    if n:
        assert links.page_of(n - 1) == pages


def test_addresses_are_all_different() -> None:
    made = [links.INDEX, links.ABOUT, links.TRAY, links.SEARCH, links.CLASSES, links.UNITS]
    made += [links.layer("a"), links.layer("a", 2), links.wall("a"), links.maps("a", 1), links.maps("a", 2)]
    made += [links.images(1), links.cards("a", 2), links.wholes(1), links.static("backlight.js")]
    made += [links.sheet("a", 1, kind) for kind in ("patches", "projections")]
    made += [links.twin(path) for path in made if path.endswith(".html")]
    assert len(set(made)) == len(made)


def test_a_map_is_an_anchor_on_the_page_of_its_place() -> None:
    assert links.feature_map("a", 63, 7) == "maps-a--1.html#m7"
    assert links.feature_map("a", 64, 900) == "maps-a--2.html#m900"
    assert links.image(64, 3) == "images--2.html#i3"
