"""Diagnosing: the page says what the diagnosis says, and leads to the maps that it accuses."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.studies.diagnosis import KINDS, Diagnosis
from backlight.web import diagnosing, links, pages
from backlight.web.contexts import DiagnosisPage
from backlight.web.site import Site
from fuzz.tiny import tiny_diagnosis
from fuzz.walking import without_type_checks


@pytest.fixture
def site(atlas: Atlas) -> Site:
    return Site(atlas, diagnosis=tiny_diagnosis())


def page_of(site: Site) -> DiagnosisPage:
    assert site.diagnosed is not None
    return site.diagnosed.page()


def text_of(site: Site, path: str) -> str:
    answer = site.answer(path)
    assert answer is not None
    return answer.content.decode()


def test_kinds_that_were_found_come_first_and_all_that_were_looked_for_are_listed(site: Site) -> None:
    page, result = page_of(site), tiny_diagnosis()
    assert [own.title for own in page.kinds] == [
        KINDS[k].title for k in ("dead", "duplicate", "uneven", "loud")
    ]
    assert [own.n_found for own in page.kinds] == [2, 1, 1, 0]
    assert [own.n_looked_for for own in page.kinds] == [11, 3, 1, 3]
    assert [own.share for own in page.kinds] == [pytest.approx(2 / 11), pytest.approx(2 / 3), 1, 0]
    assert (page.n_tests, page.n_looked_at, page.n_layers) == (18, 5, 3)
    found = {own.says: own for kind in page.kinds for own in kind.findings}
    assert set(found) == {own.says for own in result.findings}
    for own in result.findings:
        shown = found[own.says]
        assert (shown.layer, shown.value, shown.low, shown.high) == (own.layer, own.value, own.low, own.high)
        assert (shown.p, shown.null) == (own.p_corrected, own.null)
        assert tuple(accused.channel for accused in shown.accused) == own.channels


def test_findings_lead_to_the_maps_that_the_atlas_shows(site: Site) -> None:
    dead, elsewhere = page_of(site).kinds[0].findings
    assert dead.layer_href == links.layer("1")
    assert [own.href for own in dead.accused] == [links.feature_map("1", 1, 1)]
    assert (elsewhere.layer_href, [own.href for own in elsewhere.accused]) == (None, [None])
    (twins,) = page_of(site).kinds[1].findings
    assert [own.href is None for own in twins.accused] == [False, True]  # the atlas shows maps 0 and 1
    for kind in page_of(site).kinds:
        for own in kind.findings:
            for accused in own.accused:
                assert accused.href is None or accused.href.partition("#")[0] in site.paths


def test_the_pages_of_accused_maps_say_so(site: Site, atlas: Atlas) -> None:
    found = {
        (name, own.card.channel): own.findings
        for name in atlas
        for own in pages.maps(site.views, name, 1).maps
    }
    expected = {("1", 1): (("dead map", "silent in all of 5 images"),)}
    expected |= {("3", 0): (("near-duplicate maps", "nearly the same"),)}
    assert {key: own for key, own in found.items() if own} == expected
    assert "Dead map</a>: silent in all of 5 images." in text_of(site, links.maps("1", 1))


def test_pictures_are_those_of_the_findings(site: Site) -> None:
    page = page_of(site)
    first, second = page.kinds[0].findings[0].picture, page.kinds[1].findings[0].picture
    assert first is not None
    assert second is not None
    assert page.kinds[2].findings[0].picture is None
    path = first.href.partition("?v=")[0]
    answer = site.answer(path)
    assert answer is not None
    sheet = np.asarray(Image.open(io.BytesIO(answer.content)).convert("L"))
    assert sheet.shape == (first.height, first.width)
    for picture, value in ((first, 10), (second, 250)):
        part = sheet[picture.top : picture.top + 8, picture.left : picture.left + 8]
        assert abs(part.astype(int) - value).max() < 12


def test_what_could_not_be_looked_for_is_said_once_for_each_reason(site: Site) -> None:
    assert [(own.layers, own.reason) for own in page_of(site).unseen] == [
        ((), "no boxes are given"),
        (("1", "3"), "too few images"),
    ]


def test_words_are_text_and_never_markup(site: Site) -> None:
    page = text_of(site, links.DIAGNOSIS)
    assert "what &lt;b&gt;others&lt;/b&gt; have" in page
    assert (
        "<code>backlight.renormalise_filters_</code>" not in page
    )  # nothing is loud, so nothing is to be tried
    assert "Silent in all of 5 images." in page


def test_a_site_without_a_diagnosis_has_no_such_page(atlas: Atlas) -> None:
    site = Site(atlas)
    assert links.DIAGNOSIS not in site.paths
    assert links.DIAGNOSIS not in text_of(site, links.INDEX)
    assert links.DIAGNOSIS in text_of(Site(atlas, diagnosis=tiny_diagnosis()), links.INDEX)


def test_nothing_found_is_said(atlas: Atlas) -> None:
    none = replace(tiny_diagnosis(), findings=(), pictures=np.zeros((0, 8, 8, 3), np.uint8))
    site = Site(atlas, diagnosis=none)
    assert "Nothing was found." in text_of(site, links.DIAGNOSIS)
    assert links.DIAGNOSED not in site.paths


def test_of_many_findings_the_first_are_shown(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosing, "MOST_OF_A_KIND", 1)
    site = Site(atlas, diagnosis=tiny_diagnosis())
    assert len(page_of(site).kinds[0].findings) == 1
    assert "The first 1 of 2" in text_of(site, links.DIAGNOSIS)


def test_a_diagnosis_of_another_network_is_said_to_be(atlas: Atlas) -> None:
    own, other = (
        Site(atlas, diagnosis=replace(tiny_diagnosis(), network=name)) for name in (atlas.model.name, "Net")
    )
    assert page_of(own).is_own
    assert "It is of Net, not of the network of this atlas." in text_of(other, links.DIAGNOSIS)


@pytest.mark.parametrize(
    "change",
    [
        {"pictures": np.zeros((2, 8, 8), np.uint8)},
        {"pictures": np.zeros((2, 8, 8, 3), np.float32)},
        {"pictures": np.zeros((1, 8, 8, 3), np.uint8)},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(change: dict[str, np.ndarray]) -> None:
    with without_type_checks(), pytest.raises(BadInputError, match="a diagnosis"):
        replace(tiny_diagnosis(), **change)
    result: Diagnosis = tiny_diagnosis()
    for number in ({"value": float("nan")}, {"low": float("inf")}):
        with pytest.raises(BadInputError, match="numbers that are not finite"):
            replace(result, findings=(replace(result.findings[0], **number),))
    with pytest.raises(BadInputError, match="there is no finding 'x'"):
        replace(result, findings=(replace(result.findings[0], kind="x"),))
