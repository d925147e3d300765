"""By other rules: pages of maps show their hits as the atlas's other rule sets project them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from backlight.atlas import Atlas, open_atlas
from backlight.web.sheets import KINDS, draw_sheet, margin
from backlight.web.site import Site


def test_a_map_shows_its_hits_by_the_other_rules(atlas: Atlas) -> None:
    site = Site(atlas)
    shown = site.views.map("3", 0)
    assert [own.rules for own in shown.by_rules] == ["guided"]
    (own,) = shown.by_rules
    assert (own.projections.left, own.projections.side) == (shown.card.projections.left, 288)
    answer = site.answer(own.projections.href.partition("?")[0])
    assert answer is not None
    guided = atlas.under("guided")["3"]
    assert answer.content == draw_sheet(guided, guided.channels, KINDS[0], margin(guided))
    plain = np.asarray(Image.open(io.BytesIO(draw_sheet(atlas["3"], guided.channels, KINDS[0], 0))), int)
    assert abs(np.asarray(Image.open(io.BytesIO(answer.content)), int) - plain).max() > 30


def test_the_site_of_other_rules_shows_its_own_beside(atlas: Atlas) -> None:
    site = Site(atlas.under("guided"))
    assert site.views.site.rules == "guided"
    assert [own.rules for own in site.views.map("3", 0).by_rules] == ["deconvnet"]


def test_an_atlas_of_one_rule_set_has_no_such_sheets(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Atlas, "other_rules", ())
    site = Site(atlas)
    assert site.views.map("3", 0).by_rules == ()
    assert [path for path in site.paths if "rules" in path] == []


def test_pictures_have_another_address_when_rules_are_added(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Site(atlas).views.version
    monkeypatch.setattr(Atlas, "other_rules", ())
    assert Site(open_atlas(atlas.path)).views.version != before
