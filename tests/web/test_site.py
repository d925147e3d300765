"""A site: every link leads somewhere, nothing of an atlas becomes markup, and twins say what pages say."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import pytest

from backlight.atlas import Atlas, open_atlas
from backlight.atlas.schema import writing
from backlight.web import links, pages
from backlight.web.site import POLICY, Site
from fuzz.tiny import make_tiny_atlas


class _Reader(HTMLParser):
    """Collects what a page refers to, its anchors and its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.elements.append((tag, own))
        self.links |= {
            own[key] for key in ("href", "src", "data-href", "data-script", "data-sheet") if own.get(key)
        }  # type: ignore[misc]
        if own.get("id"):
            self.ids.append(own["id"])  # type: ignore[arg-type]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(site: Site, path: str) -> _Reader:
    """Return what is on a page."""
    answer = site.answer(path)
    assert answer is not None
    reader = _Reader()
    reader.feed(answer.content.decode())
    return reader


def html(site: Site) -> list[str]:
    """Return the addresses of pages."""
    return [path for path in site.paths if path.endswith(".html")]


@pytest.mark.parametrize("per_page", [64, 1])
def test_every_link_leads_to_an_address_and_an_anchor(
    site: Site, monkeypatch: pytest.MonkeyPatch, per_page: int
) -> None:
    monkeypatch.setattr(links, "PER_PAGE", per_page)
    known = set(site.paths)
    anchors = {path: read(site, path).ids for path in html(site)}
    reached: set[str] = set()
    for path in html(site):
        for link in read(site, path).links - {"data:,"}:
            target, _, anchor = link.removesuffix(f"?v={site.views.version}").partition("#")
            target = target or path
            assert target in known, (path, link)
            reached.add(target)
            if anchor:
                assert anchor in anchors[target], (path, link)
    # what no page refers to: twins, which are for programs
    assert known - reached == {path for path in known if path.endswith(".json")}


def test_ids_of_a_page_are_unique(site: Site) -> None:
    for path in html(site):
        ids = read(site, path).ids
        assert len(set(ids)) == len(ids), path


def test_nothing_inline_and_the_policy_on_every_page(site: Site) -> None:
    for path in html(site):
        page = read(site, path)
        policies = [own["content"] for _, own in page.elements if own.get("http-equiv")]
        assert policies == [POLICY]
        for tag, own in page.elements:
            assert "style" not in own, (path, tag)
            assert not any(key.startswith("on") for key in own), (path, tag)
            assert tag != "style"
            if tag == "script":
                assert own.get("src"), path


def test_every_page_has_a_twin_with_its_context(site: Site) -> None:
    for path in html(site):
        answer = site.answer(links.twin(path))
        assert answer is not None
        assert answer.media_type == "application/json"
        json.loads(answer.content)
    twin = site.answer("layer-3.json")
    assert twin is not None
    assert json.loads(twin.content) == json.loads(json.dumps(asdict(pages.layer(site.views, "3", 1))))


def test_what_is_not_an_address_has_no_answer(site: Site) -> None:
    for path in ("", "../pyproject.toml", "static/../site.py", "/etc/passwd", "layer-4.html", "INDEX.HTML"):
        assert site.answer(path) is None


NAMES = [
    "<script>alert(1)</script>.png",
    "\"quoted\" & 'single'.png",
    "line\nbreak.png",
    "\u202eright to left.png",
    "]]></svg>.png",
    "</script><script>x",
]


def hostile(folder: Path) -> Path:
    """Write an atlas whose file names, labels and network are what a stranger might write."""
    path = folder / "hostile.atlas"
    make_tiny_atlas(path)
    with writing(path) as connection:
        for (image_id,) in connection.execute("SELECT image_id FROM image").fetchall():
            name = NAMES[image_id % len(NAMES)]
            connection.execute(
                "UPDATE image SET path = ?, label = ? WHERE image_id = ?", (name, name, image_id)
            )
    return path


def test_names_from_anybody_are_text_and_never_markup(tmp_path: Path) -> None:
    try:
        path = hostile(tmp_path)
        copy = path.rename(tmp_path / "<script>alert(2)<!--.atlas")
        site = Site(open_atlas(hostile(tmp_path)), open_atlas(copy))
        plain = Site(open_atlas(_tiny(tmp_path)), open_atlas(_tiny(tmp_path)))
    except sqlite3.Error:  # pragma: no cover
        pytest.fail("the atlas could not be changed")
    shown = 0
    for path in html(site):
        page, usual = (
            read(site, path),
            {tag for tag, _ in read(plain, path).elements} if path in set(plain.paths) else None,
        )
        scripts = [own for tag, own in page.elements if tag == "script"]
        assert all(own.get("src") in {"static/backlight.js", links.UNITS} for own in scripts), path
        if usual is not None:
            assert {tag for tag, _ in page.elements} <= usual | {"details", "summary", "ul", "li", "em"}, path
        shown += "<script>alert(1)</script>.png" in page.text
    assert shown > 1
    assert "<script>alert(2)<!--.atlas" in read(site, links.COMPARE).text
    units = site.answer(links.UNITS)
    assert units is not None
    assert b"</script" not in units.content


def _tiny(folder: Path) -> Path:
    make_tiny_atlas(folder / "tiny.atlas")
    return folder / "tiny.atlas"


def test_scripts_hand_over_plain_json(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PER_PAGE", 1)
    site = Site(atlas)
    answer = site.answer("data/cards-3--2.js")
    assert answer is not None
    page, cards = json.loads(
        re.fullmatch(r"backlight\.cards\((.*)\);\n", answer.content.decode()).expand(r"[\1]")
    )  # type: ignore[union-attr]
    assert page == 2
    assert len(cards) == 1
    assert f'data-href="sheets/3--2-projections.webp?v={site.views.version}"' in cards[0]
    units = site.answer(links.UNITS)
    assert units is not None
    layers, rows = json.loads("[" + units.content.decode()[len("backlight.units(") : -3] + "]")
    assert [own[0] for own in layers] == list(atlas)
    assert [(layers[row[1]][0], row[2]) for row in rows] == [
        (name, c) for name in atlas for c in atlas[name].channels
    ]
