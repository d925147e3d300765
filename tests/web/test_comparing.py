"""Comparing: pages show each map beside its namesake in the other atlas, most changed first, with its own pictures."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backlight.atlas import Atlas, compare, open_atlas
from backlight.atlas.schema import writing
from backlight.errors import BadInputError
from backlight.web import export, links
from backlight.web.contexts import CompareLayerPage, Sprite
from backlight.web.serving import app
from backlight.web.sheets import SIDE
from backlight.web.site import Site
from fuzz.tiny import make_tiny_atlas


def compared(site: Site, name: str, page: int = 1) -> CompareLayerPage:
    assert site.compared is not None
    return site.compared.layer(name, page)


def text(site: Site, path: str) -> str:
    answer = site.answer(path)
    assert answer is not None
    return answer.content.decode()


def test_every_map_stands_once_most_changed_first(
    atlas: Atlas, beside: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compare(atlas, beside)
    for per_page in (64, 1):
        monkeypatch.setattr(links, "PER_PAGE", per_page)
        site = Site(atlas, beside)
        for layer in found.layers:
            n_pages = links.n_pages(len(layer.maps))
            shown = [own for i in range(n_pages) for own in compared(site, layer.name, i + 1).maps]
            assert [own.channel for own in shown] == [own.channel for own in layer.maps]
            for view, own in zip(shown, layer.maps, strict=True):
                assert (view.changed, view.n_shared, view.n_hits) == (own.changed, own.n_shared, own.n_hits)
                assert (view.filters, view.strength, view.gain) == (own.filters, own.strength, own.evidence)
                assert view.ours.max == atlas[layer.name][own.channel].max
                assert view.theirs.max == beside[layer.name][own.channel].max
                assert view.href == site.views.cards(layer.name)[own.channel].href


def test_marked_hits_are_those_of_images_that_both_have(atlas: Atlas, beside: Atlas) -> None:
    site = Site(atlas, beside)
    n_marks = 0
    for name in atlas:
        for view in compared(site, name).maps:
            ours, theirs = ([hit.image_id for hit in own[name][view.channel].hits] for own in (atlas, beside))
            assert view.ours.shared == tuple(i for i, image in enumerate(ours) if image in theirs)
            assert view.theirs.shared == tuple(i for i, image in enumerate(theirs) if image in ours)
            assert len(view.ours.shared) == len(view.theirs.shared) == view.n_shared
            n_marks += 2 * view.n_shared
        assert text(site, links.compared(name)).count('class="mark"') == 2 * sum(
            own.n_shared for own in compared(site, name).maps
        )
    assert n_marks > 0


def cut(site: Site, sprite: Sprite | None) -> np.ndarray:
    """Return what a sprite shows."""
    assert sprite is not None
    answer = site.answer(sprite.href.partition("?")[0])
    assert answer is not None
    page = Image.open(io.BytesIO(answer.content)).convert("RGB")
    assert page.size == (sprite.width, sprite.height)
    box = (sprite.left, sprite.top, sprite.left + sprite.side, sprite.top + sprite.side)
    return np.asarray(page.crop(box)).astype(int)


@pytest.mark.parametrize("per_page", [64, 1])
def test_each_side_shows_the_pictures_of_its_own_atlas(
    atlas: Atlas, beside: Atlas, monkeypatch: pytest.MonkeyPatch, per_page: int
) -> None:
    monkeypatch.setattr(links, "PER_PAGE", per_page)
    site, other = Site(atlas, beside), Site(beside)
    n_apart = 0
    for name in atlas:
        # the same part of what a unit sees is shown on both sides, as in this atlas's own pages
        other.views._margins[name] = site.views.margin(name)
        for page in range(1, links.n_pages(len(atlas[name].channels)) + 1):
            for view in compared(site, name, page).maps:
                card, theirs = (own.views.cards(name)[view.channel] for own in (site, other))
                for kind in ("projections", "patches"):
                    left, right = (cut(site, getattr(own, kind)) for own in (view.ours, view.theirs))
                    # sheets are compressed, each with other maps around
                    assert np.abs(left - cut(site, getattr(card, kind))).mean() < 4
                    assert np.abs(right - cut(other, getattr(theirs, kind))).mean() < 4
                    n_apart += np.abs(left - right).mean() > 12
    assert n_apart > 6


def test_the_summary_has_every_layer_and_counts_every_map(atlas: Atlas, beside: Atlas) -> None:
    site, found = Site(atlas, beside), compare(atlas, beside)
    assert site.compared is not None
    page = site.compared.summary()
    assert (page.name, page.site.beside) == ("tiny.atlas", "beside.atlas")
    assert (page.top, page.by_chance, page.differences) == (2, 0.4, ("model or weights",))
    assert page.left_out == ()
    assert [own.layer.name for own in page.changes] == [own.name for own in found.layers]
    for view, own in zip(page.changes, found.layers, strict=True):
        assert (view.changed, view.filters) == (own.changed, own.filters)
        assert (view.n_compared, view.n_left_out, len(view.counts)) == (len(own.maps), 0, 10)
        assert sum(view.counts) == len(own.maps)
        assert sum(n for step, n in enumerate(view.counts) if step < 2) == sum(
            m.changed < 0.17 for m in own.maps
        )
        assert view.href == links.compared(own.name)
        assert view.example is not None
        assert view.example.channel == own.maps[0].channel
        assert site.views.layer(own.name).compared == view.href


def test_an_atlas_beside_itself_has_not_changed(atlas: Atlas) -> None:
    site = Site(atlas, open_atlas(atlas.path))
    assert site.compared is not None
    summary = site.compared.summary()
    assert [own.changed for own in summary.changes] == [0, 0, 0]
    assert [own.counts for own in summary.changes] == [(2, *[0] * 9)] * 3
    assert "They are of the same network" in text(site, links.COMPARE)
    for name in atlas:
        for view in compared(site, name).maps:
            assert replace(view.ours, projections=None, patches=None) == replace(
                view.theirs, projections=None, patches=None
            )


def test_a_map_that_died_is_said_to_have_and_has_no_picture(atlas: Atlas, tmp_path: Path) -> None:
    path = tmp_path / "dead.atlas"
    make_tiny_atlas(path)
    own = "layer_id = 1 AND channel = 1"
    with writing(path) as connection:
        connection.execute(f"DELETE FROM hit WHERE {own}")
        connection.execute(f"UPDATE feature_map SET max = 0, n_active = 0 WHERE {own}")
    there, back = Site(atlas, open_atlas(path)), Site(open_atlas(path), atlas)
    died, revived = compared(there, "3").maps[0], compared(back, "3").maps[0]
    assert died.channel == revived.channel == 1
    assert (died.ours.is_dead, died.theirs.is_dead, died.theirs.patches) == (False, True, None)
    assert (revived.ours.is_dead, revived.theirs.is_dead, revived.ours.patches) == (True, False, None)
    assert (compared(there, "3").change.n_died, compared(back, "3").change.n_revived) == (1, 1)
    for site, word in ((there, "died"), (back, "revived")):
        page = text(site, links.compared("3"))
        assert f'<span class="how-much">{word}</span>' in page
        assert page.count("never active") == 1
        assert f"<b>1</b> <small>{word}</small>" in text(site, links.COMPARE)
        example = compared(site, "3").change.example
        assert example is not None
        assert example.channel == 0


def test_only_an_atlas_beside_another_says_compare(atlas: Atlas, beside: Atlas) -> None:
    alone, both = Site(atlas), Site(atlas, beside)
    for site, is_compared in ((alone, False), (both, True)):
        for path in (links.INDEX, links.layer("3"), links.ABOUT):
            assert (f'<a href="{links.COMPARE}">Compare</a>' in text(site, path)) == is_compared
        assert ("Beside beside.atlas" in text(site, links.layer("3"))) == is_compared
        assert (links.COMPARE in set(site.paths)) == is_compared
    assert alone.views.layer("3").compared is None


def test_two_that_cannot_be_compared_are_refused_before_anything_is_written(
    atlas: Atlas, tmp_path: Path
) -> None:
    path = tmp_path / "other.atlas"
    make_tiny_atlas(path)
    with writing(path) as connection:
        connection.execute(
            "UPDATE meta SET value = json_set(value, '$.images.fingerprint', 'other') WHERE key = 'identity'"
        )
    other = open_atlas(path)
    for start in (
        lambda: app(atlas, other),
        lambda: Site(atlas, other),
        lambda: export(atlas, tmp_path / "site", beside=other),
    ):
        with pytest.raises(BadInputError, match=r"'tiny.atlas' and 'other.atlas' are of different images"):
            start()
    assert not (tmp_path / "site").exists()


def test_sides_show_the_nine_strongest(atlas: Atlas, beside: Atlas) -> None:
    sprite = compared(Site(atlas, beside), "1").maps[0].theirs.patches
    assert sprite is not None
    assert sprite.side % SIDE == 0
    assert sprite.href.partition("?")[0] == "sheets/beside-1--1-patches.webp"
