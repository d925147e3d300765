"""Pages: their contexts hold what they promise, page by page."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.files import make_network
from backlight import build
from backlight.atlas import Atlas, open_atlas
from backlight.atlas.schema import writing
from backlight.web import links, pages
from backlight.web.site import Site
from backlight.web.views import Views
from web.branched import make_branched_atlas


def test_the_network_lists_its_layers_in_blocks(atlas: Atlas) -> None:
    page = pages.network(Views(atlas))
    assert [layer.name for layer in page.layers] == list(atlas)
    blocks = [block for run in page.runs for block in run.blocks]
    assert [layer for own in blocks for layer in page.layers[own.first : own.first + own.n_layers]] == list(
        page.layers
    )
    assert page.is_open
    assert page.example is not None
    assert page.example_layer is not None
    assert page.example in Views(atlas).cards(page.example_layer.name).values()


def test_blocks_of_one_structure_are_a_run_and_the_diagram_branches(tmp_path: Path) -> None:
    make_branched_atlas(tmp_path / "branched.atlas")
    atlas = open_atlas(tmp_path / "branched.atlas")
    page = pages.network(Views(atlas))
    atlas.close()
    assert [[block.name for block in run.blocks] for run in page.runs] == [
        ["stem"],
        ["one", "two"],
        ["three"],
    ]
    assert [block.n_layers for run in page.runs for block in run.blocks] == [1, 4, 4, 4]
    assert page.n_lanes == 2
    assert [row.lane for row in page.rows] == [0, 0, *(0, 0, 1, 0) * 3]
    last = page.layers[-1]
    assert last.sources == ("three.left", "three.right")
    assert last.sample is not None
    assert last.sample.rank == 1


def test_an_atlas_that_kept_no_sources_is_one_line_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "older.atlas"
    make_branched_atlas(path)
    said = {}
    for name in ("newer", "older"):
        atlas = open_atlas(path)
        site, page = Site(atlas), pages.network(Views(atlas))
        answer = site.answer(links.INDEX)
        assert answer is not None
        said[name] = "kept no branches" in answer.content.decode()
        atlas.close()
        with writing(path) as connection:
            connection.execute("UPDATE layer SET description = json_remove(description, '$.sources')")
    assert said == {"newer": False, "older": True}
    assert page.n_lanes == 1
    assert {layer.sources for layer in page.layers} == {None}
    assert [len(run.blocks) for run in page.runs] == [1, 2, 1]


def test_a_layer_of_many_maps_has_pages(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PER_PAGE", 1)
    views = Views(atlas)
    first, second = (pages.layer(views, "3", page) for page in (1, 2))
    assert [card.channel for page in (first, second) for card in page.cards] == list(atlas["3"].channels)
    assert first.pages == second.pages == ("layer-3.html", "layer-3--2.html")
    assert first.scripts == ("data/cards-3--2.js",)
    assert (first.before, first.after) == ("layer-1.html", "layer-5.html")
    assert [own.card.channel for own in pages.maps(views, "3", 2).maps] == [atlas["3"].channels[1]]


def test_a_page_of_maps_knows_its_sheet_in_each_scale(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PER_PAGE", 1)
    views = Views(atlas)
    page = pages.maps(views, "3", 2)
    assert [(own.name, own.sheet) for own in page.scales] == [
        ("percentile", f"sheets/3--2-projections.webp?v={views.version}"),
        ("signed", f"sheets/3--2-projections-signed.webp?v={views.version}"),
        ("magnitude", f"sheets/3--2-projections-magnitude.webp?v={views.version}"),
    ]
    (shown,) = page.maps
    assert shown.card.projections is not None
    assert shown.card.projections.href == page.scales[0].sheet


def test_classes_list_maps_whose_hits_mostly_have_the_label(atlas: Atlas) -> None:
    page = pages.classes(Views(atlas))
    assert [own.label for own in page.classes] == ["a", "b"]
    for own in page.classes:
        for card in own.cards:
            assert card.labels[0].label == own.label
            assert card.purity > 0.5
        assert own.images


def test_about_names_skipped_pictures_and_hashes(atlas: Atlas) -> None:
    page = pages.about(Views(atlas))
    assert page.fingerprint == atlas.model.fingerprint
    assert page.n_skipped == 1
    assert page.skipped[0][0].endswith("bad.jpg")
    assert page.preprocessing["crop"] == "12 x 12"
    assert dict(page.studies)["3"] == "as good"


def test_images_come_in_pages(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PER_PAGE", 2)
    views = Views(atlas)
    n = links.n_pages(len(views.units))
    found = [image.id for page in range(1, n + 1) for image in pages.images(views, page).images]
    assert found == list(views.units)


def test_maps_that_are_classes_have_their_names(tmp_path: Path, picture_folder: Path) -> None:
    names = ["ant", "bee", "cow", "<doe>", "elk"]
    atlas = build(
        make_network(), picture_folder, tmp_path / "a.atlas", ["relu2", "fc"], compile="off", labels=names
    )
    views = Views(atlas)
    assert [card.name for card in views.cards("fc").values()] == names
    assert {card.name for card in views.cards("relu2").values()} == {""}
    site = Site(atlas)
    answer = site.answer(links.feature_map(views.slugs["fc"], 3, 3).partition("#")[0])
    assert answer is not None
    assert b"Map 3: &lt;doe&gt; <small>of 5 in" in answer.content
