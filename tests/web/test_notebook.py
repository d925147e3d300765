"""Notebooks: a map and a layer show what their pages show, with nothing outside of the card, and never raise."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas.files import put_tile
from atlas.in_memory import feature_map
from backlight.atlas import Atlas, Evidence, open_atlas
from backlight.web import notebook, pages
from backlight.web.sheets import KINDS, draw_sheet, margin
from backlight.web.site import Site
from backlight.web.views import Views
from fuzz.tiny import make_tiny_atlas


class _Card(HTMLParser):
    def __init__(self, text: str | None) -> None:
        super().__init__()
        assert text is not None
        self.tags: list[str] = []
        self.keys: set[str] = set()
        self.pictures: list[bytes] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.keys |= {key for key, _ in attrs}
        href = dict(attrs).get("href")
        if href is not None:
            self.pictures.append(b64decode(href.removeprefix("data:image/webp;base64,"), validate=True))

    def handle_data(self, data: str) -> None:
        self.text += data


def sentences(site: Site, path: str) -> list[str]:
    answer = site.answer(path)
    assert answer is not None
    return re.findall(r'<p class="(?:lede|evline)">.*?</p>', answer.content.decode(), re.S)


def test_a_map_shows_the_sentences_pictures_and_histogram_of_its_page(atlas: Atlas) -> None:
    layer, site = atlas["3"], Site(atlas)
    on_pages = sentences(site, "maps-3--1.html")
    for channel in layer.channels:
        html = layer[channel]._repr_html_()
        card = _Card(html)
        assert f"Map {channel} of 3 in 3 of Sequential" in " ".join(card.text.split())
        said = re.findall(r'<p class="(?:lede|evline)">.*?</p>', html or "", re.S)
        assert said == [own for own in on_pages if own in said]
        assert len(said) == 1 + (layer[channel].evidence is not None)
        drawn = [Image.open(io.BytesIO(own)) for own in card.pictures]
        assert [(own.format, own.size) for own in drawn] == [("WEBP", (288, 288))] * 2
        bars = pages.maps(Views(atlas), "3", 1).maps[layer.channels.index(channel)].histogram
        assert card.tags.count("title") == len(bars)


def test_a_layer_shows_the_first_cards_of_its_page(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = atlas["3"]
    html = layer._repr_html_() or ""
    card = _Card(html)
    assert re.findall(r'<p class="(?:lede|evline)">.*?</p>', html, re.S) == sentences(
        Site(atlas), "layer-3.html"
    )
    assert card.tags.count("article") == 2
    assert "The first" not in card.text
    wanted = [draw_sheet(layer, [c], kind, margin(layer)) for c in layer.channels for kind in KINDS]
    assert card.pictures == wanted
    monkeypatch.setattr(notebook, "MAPS", 1)
    few = _Card(layer._repr_html_())
    assert few.tags.count("article") == 1
    assert "The first 1 of 2 maps." in few.text


def test_a_card_stands_alone(atlas: Atlas) -> None:
    for thing in (atlas["3"], atlas["5"], atlas["3"][0]):
        card = _Card(thing._repr_html_())
        assert not {"a", "script", "button", "link", "img"} & set(card.tags)
        assert not {"id", "src", "onclick"} & card.keys
        # its style is its own: every rule begins with its class
        (style,) = re.findall("<style>(.*?)</style>", thing._repr_html_() or "", re.S)
        selectors = [own for rule in re.findall(r"^([^{}]+)\{", style, re.M) for own in rule.split(",")]
        assert len(selectors) > 20
        assert all(own.strip().startswith(".backlight-card") for own in selectors)


def test_maps_of_no_file_have_cards_and_names_are_text() -> None:
    own = replace(
        feature_map(),
        layer="<b>&",
        evidence=Evidence({"deconvnet": 0.5, "turned": 0.1}, "<i>", True, "deconvnet", 2),
    )
    card = _Card(own._repr_html_())
    assert len(card.pictures) == 2
    assert "b" not in card.tags
    assert "i" not in card.tags
    assert "<i>" in card.text
    assert "50\u202f% of the activation is lost" in card.text
    tile = np.asarray(Image.open(io.BytesIO(card.pictures[1])).convert("RGB"))
    assert abs(int(tile[20, 20, 0]) - 100) < 8  # the first patch


def test_a_dead_map_says_so() -> None:
    dead = replace(feature_map(), hits=(), active_share=0.0)
    card = _Card(dead._repr_html_())
    assert "It is active in none of the 100 images." in card.text
    assert card.pictures == []


def test_a_damaged_map_says_why_and_its_layer_too(tmp_path: Path) -> None:
    path = tmp_path / "damaged.atlas"
    make_tiny_atlas(path)
    put_tile(path, patch=b"no picture")
    atlas = open_atlas(path)
    shown = [own for layer in atlas.layers for own in (layer, *(layer[c] for c in layer.channels))]
    texts = [own._repr_html_() or "" for own in shown]
    assert any("No picture: " in own for own in texts)
    assert any("backlight-card" in own for own in texts)
    atlas.close()


def test_without_a_card_there_is_still_the_picture(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> str:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(notebook, "map_card", fail)
    monkeypatch.setattr(notebook, "layer_card", fail)
    own = atlas["3"][0]
    assert own._repr_html_() is None
    assert (own._repr_png_() or b"").startswith(b"\x89PNG")
    assert atlas["3"]._repr_html_() is None
