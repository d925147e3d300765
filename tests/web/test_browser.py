"""The site in a real browser, from disk: whatever Chromium is installed (`apt-get install chromium`), by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from backlight.atlas import open_atlas
from backlight.web import export, exporting, links
from fuzz.tiny import make_tiny_atlas, tiny_diagnosis, tiny_evolution
from web.branched import make_branched_atlas

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="pip install playwright runs the tests in a browser"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
ROOT = Path(__file__).resolve().parents[2]
OTHER = "other-with-the-long-name-of-a-checkpoint-epoch-0090-of-0100.atlas"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium brings one"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sites: of a tiny atlas beside another one, whole and with one map or image a page; of a branched network."""
    folder = tmp_path_factory.mktemp("sites")
    make_tiny_atlas(folder / "tiny.atlas")
    make_tiny_atlas(folder / OTHER, 1)
    make_branched_atlas(folder / "branched.atlas")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_n_cores", lambda: 1)  # other processes would not see the patch
        for name, atlas, per_page in (
            ("whole", "tiny", 64),
            ("pages", "tiny", 1),
            ("branched", "branched", 64),
        ):
            patch.setattr(links, "PER_PAGE", per_page)
            with_atlas, beside = open_atlas(folder / f"{atlas}.atlas"), open_atlas(folder / OTHER)
            is_tiny = atlas == "tiny"
            more = (
                {"beside": beside, "evolution": tiny_evolution(), "diagnosis": tiny_diagnosis()}
                if is_tiny
                else {}
            )
            export(with_atlas, folder / name, **more)
            with_atlas.close()
            beside.close()
            found[name] = folder / name
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    """A Chromium without a window."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A tab at a folder or a server, and what went wrong in it."""

    def __init__(self, browser: sync_api.Browser, place: Path | str, **options: object) -> None:
        self.start, self.wrong = f"file://{place}" if isinstance(place, Path) else place, list[str]()
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)  # type: ignore[arg-type]
        self.page = self.context.new_page()
        self.page.on(
            "console", lambda message: self.wrong.append(message.text) if message.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._note)
        self.page.on("requestfailed", self._failed)

    def _failed(self, request: sync_api.Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # left behind when the tab goes on to another page
            self.wrong.append(f"failed: {request.url}")

    def _note(self, request: sync_api.Request) -> None:
        if not request.url.startswith((self.start, "data:")):
            self.wrong.append(f"outside: {request.url}")

    def go(self, path: str) -> sync_api.Page:
        self.page.goto(f"{self.start}/{path}")
        return self.page

    @property
    def path(self) -> str:
        return self.page.url.rpartition("/")[2]


@pytest.fixture
def visit(browser: sync_api.Browser, folders: dict[str, Path]) -> Iterator[Visit]:
    """A tab at the site, in which nothing may go wrong."""
    found = Visit(browser, folders["whole"])
    yield found
    found.context.close()
    assert found.wrong == []


def test_every_page_is_reached_by_clicking(visit: Visit, folders: dict[str, Path]) -> None:
    waiting, seen = [links.INDEX], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        page = visit.go(path)
        assert page.locator("h1:visible").count() == 1
        hrefs = page.eval_on_selector_all(
            "a[href]", "all => all.map(a => a.getAttribute('href').split('#')[0])"
        )
        waiting += [href for href in hrefs if href]
    assert seen == {path.name for path in folders["whole"].glob("*.html")}


def test_from_the_network_to_a_map_by_hand(visit: Visit) -> None:
    page = visit.go(links.INDEX)
    page.get_by_role("link", name="3", exact=True).click()
    assert visit.path == "layer-3.html"
    page.locator("#c1 a.pics").click()
    assert visit.path == "maps-3--1.html#m1"
    assert page.locator(".map:visible").count() == 1
    assert "Map 1" in page.locator(".map:visible h1").inner_text()
    assert page.locator(".map:visible .diptych image[href]").count() == 2
    assert page.evaluate("window.scrollY") == 0


def test_keys_walk_the_maps_and_go_up(visit: Visit) -> None:
    page = visit.go("maps-3--1.html#m0")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => location.hash.startsWith('#m1')")
    assert "Map 1" in page.locator(".map:visible h1").inner_text()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => location.hash.startsWith('#m0')")
    page.keyboard.press("u")
    page.wait_for_url("**/layer-3.html*")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    page.wait_for_url("**/index.html*")


def test_arrows_move_in_a_grid(visit: Visit) -> None:
    page = visit.go("layer-3.html")
    page.locator("#c0 a.pics").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.closest('.card').id") == "c1"
    page.keyboard.press("Enter")
    page.wait_for_url("**/maps-3--1.html#m1*")


def test_the_view_switches_and_links_carry_it(visit: Visit) -> None:
    page = visit.go("layer-3.html")
    page.keyboard.press("2")
    assert page.locator("#c0 .projection").is_visible()
    assert not page.locator("#c0 .patch").is_visible()
    page.locator("#c0 a.pics").click()
    assert visit.path == "maps-3--1.html#m0&view=projection"
    assert page.locator(".map:visible .diptych figure:visible").count() == 1
    assert page.locator("[name=view]:checked").get_attribute("value") == "projection"


def state(page: sync_api.Page) -> str:
    """Return what the address of a page holds, as the page itself knows it: at once."""
    return str(page.evaluate("location.hash"))


def addresses(page: sync_api.Page) -> set[str]:
    """Return the sheets of the projections of the map that is shown, but for bands, steps and other rules."""
    pictures = page.locator(".map.on .projection image:not(.bands image, .evolved image, .by-rules image)")
    return set(
        pictures.evaluate_all(
            "all => all.map(own => (own.getAttribute('href') || own.dataset.href).replace(/[?]v=\\w+$/, ''))"
        )
    )


def test_another_scale_is_loaded_when_it_is_asked_for_and_links_carry_it(visit: Visit) -> None:
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2].partition("?")[0]))
    page = visit.go("maps-3--1.html#m0")
    assert addresses(page) == {"sheets/3--1-projections.webp"}
    assert not any("-projections-" in own for own in asked)
    page.locator("[name=scale][value=magnitude]").check()
    assert addresses(page) == {"sheets/3--1-projections-magnitude.webp"}
    assert page.locator(".map.on .diptych .projection image[href]").count() == 1
    page.wait_for_load_state("networkidle")
    assert "3--1-projections-magnitude.webp" in asked
    assert "3--1-projections-signed.webp" not in asked
    assert state(page) == "#m0&scale=magnitude"
    assert "brighter is stronger" in page.locator("#scale-says").inner_text()
    patches = page.locator(".map:visible .diptych .patch image")
    assert str(patches.get_attribute("href")).startswith("sheets/3--1-patches.webp?v=")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => location.hash === '#m0&scale=signed'")
    page.locator(".map:visible [rel=next]").click()
    page.wait_for_function("() => location.hash === '#m1&scale=signed'")
    assert addresses(page) == {"sheets/3--1-projections-signed.webp"}
    page.wait_for_load_state("networkidle")
    page.keyboard.press("u")
    page.wait_for_url("**/layer-3.html#*scale=signed")
    own = page.locator("#c0 .projection image").get_attribute("href")
    assert str(own).startswith("sheets/3--1-projections.webp?v=")
    visit.go("about.html")
    page = visit.go("maps-3--1.html#m1&scale=magnitude")
    assert page.locator("[name=scale]:checked").get_attribute("value") == "magnitude"
    assert addresses(page) == {"sheets/3--1-projections-magnitude.webp"}
    page.locator("[name=scale][value=percentile]").check()
    assert state(page) == "#m1"
    assert addresses(page) == {"sheets/3--1-projections.webp"}
    assert page.locator(".map.on .bands .projection image").evaluate_all(
        "all => all.every(own => /3--1-band-projections.webp[?]v=/.test(own.getAttribute('href') || own.dataset.href))"
    )


def test_a_scale_that_there_is_not_is_the_first(visit: Visit) -> None:
    page = visit.go("maps-3--1.html#m1&scale=%22]loud")
    assert page.locator("[name=scale]:checked").get_attribute("value") == "percentile"
    assert state(page) == "#m1"


def chosen(page: sync_api.Page) -> list[int]:
    """Return the bands of the map that is shown that are pressed."""
    pressed = page.locator(".map.on .band").evaluate_all(
        "all => all.map(own => own.getAttribute('aria-pressed'))"
    )
    return [i for i, own in enumerate(pressed) if own == "true"]


def large(page: sync_api.Page) -> list[str]:
    """Return the values below the examples that are shown large, each with both of its pictures loaded."""
    shown = page.locator(".map.on .picked figure")
    for own in shown.all():
        assert own.locator(".patch image[href], .projection image[href]").count() == 2
        assert own.bounding_box()["width"] > 100  # type: ignore[index]
    return shown.all_inner_texts()


def test_dragging_over_bands_chooses_them(visit: Visit) -> None:
    page = visit.go("maps-3--1.html#m0")
    bands = page.locator(".map.on .band")
    values = bands.locator(".edge").all_inner_texts()
    assert len(values) == 5
    assert (chosen(page), large(page)) == ([], [])
    bands.nth(1).hover()
    page.mouse.down()
    assert state(page) == "#m0&band=1-1"
    bands.nth(3).hover()
    assert chosen(page) == [1, 2, 3]
    bands.nth(0).hover()  # back over the first one
    page.mouse.up()
    bands.nth(4).hover()  # no longer held
    assert chosen(page) == [0, 1]
    assert large(page) == values[:2]
    assert state(page) == "#m0&band=0-1"


def test_arrows_choose_a_band_and_shift_widens_it(visit: Visit) -> None:
    page = visit.go("maps-3--1.html#m0")
    values = page.locator(".map.on .band .edge").all_inner_texts()
    page.locator(".map.on .band").nth(1).focus()
    page.keyboard.press("Shift+ArrowRight")
    assert chosen(page) == [1, 2]
    page.keyboard.press("Shift+ArrowRight")
    assert chosen(page) == [1, 2, 3]
    assert large(page) == values[1:4]
    page.keyboard.press("Shift+ArrowLeft")
    assert chosen(page) == [1, 2]
    page.keyboard.press("ArrowRight")
    assert chosen(page) == [3]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # there is none behind the last one
    assert chosen(page) == [4]
    assert state(page) == "#m0&band=4-4"
    page.locator(".map.on .band").nth(0).focus()
    page.keyboard.press("Enter")
    assert chosen(page) == [0]
    assert "Map 0" in page.locator(".map:visible h1").inner_text()  # arrows did not leave the map
    # the anchor of a range is one of the same map
    page.evaluate("location.hash = '#m1'")
    page.wait_for_selector("#m1.on")
    page.locator("#m1 .band").nth(0).focus()
    page.keyboard.press("Shift+ArrowRight")
    assert chosen(page) == [0, 1]


def steps(page: sync_api.Page) -> tuple[list[str], str, str]:
    """Return which step of the map is marked, what is said of it, and whose projection is shown large."""
    marked = page.locator(".map.on .film [aria-current=true] .edge").all_inner_texts()
    large = page.locator(".map.on .frame .projection").get_attribute("viewBox")
    return marked, page.locator(".map.on .frame figcaption").inner_text(), large or ""


def test_the_slider_shows_a_step_of_the_training(visit: Visit) -> None:
    page = visit.go("maps-3--1.html#m0")
    film = page.locator(".map.on .film li")
    labels = [own.replace(" •", "") for own in film.locator(".edge").all_inner_texts()]
    boxes = [own.get_attribute("viewBox") for own in film.locator(".projection").all()]
    assert labels == ["2", "9", "10"]
    assert len(set(boxes)) == 3
    slider = page.locator(".map.on [data-steps] input")
    marked, said, large = steps(page)
    assert [own.replace(" •", "") for own in marked] == labels[-1:]
    assert (said.startswith("Step epoch-10:"), large) == (True, boxes[2])
    slider.focus()
    page.keyboard.press("ArrowLeft")
    marked, said, large = steps(page)
    assert (said.startswith("Step epoch-9:"), large) == (True, boxes[1])
    assert slider.get_attribute("aria-valuetext") == said
    assert state(page) == "#m0&step=1"
    film.nth(0).click()
    assert steps(page)[2] == boxes[0]
    assert state(page) == "#m0&step=0"
    assert "Map 0" in page.locator(".map:visible h1").inner_text()  # arrows did not leave the map
    page = visit.go("maps-3--1.html#m1&step=1")  # a link restores it
    assert steps(page)[1].startswith("Step epoch-9:")
    for wrong in ("7", "x", "-1"):
        visit.go("about.html")
        assert steps(visit.go(f"maps-3--1.html#m0&step={wrong}"))[1].startswith("Step epoch-10:")


def test_a_link_restores_a_band(visit: Visit) -> None:
    page = visit.go("maps-3--1.html#m0&band=1-3")
    values = page.locator(".map.on .band .edge").all_inner_texts()
    assert chosen(page) == [1, 2, 3]
    assert large(page) == values[1:4]
    page.locator(".map.on .band").nth(4).focus()
    page.keyboard.press("Shift+ArrowLeft")
    assert chosen(page) == [1, 2, 3]  # it is still the range from the first one
    visit.go("about.html")
    for wrong in ("7-9", "1-x", "3"):
        page = visit.go(f"maps-3--1.html#m0&band={wrong}")
        assert chosen(page) == []
        visit.go("about.html")


def test_pins_are_carried_to_the_tray_and_a_link_to_it_holds_them(visit: Visit) -> None:
    page = visit.go("layer-3.html")
    page.locator("#c1 .pin").click()
    assert page.locator(".tray-link .count").inner_text() == "1"
    page.locator(".tray-link").click()
    assert visit.path == "tray.html#pin=3:1"
    assert page.locator("#tray .card").count() == 1
    assert "1 of 3" in page.locator("#tray .card").inner_text()
    visit.go("about.html")
    page = visit.go("tray.html#pin=3:1,1:0,gone:7")
    assert page.locator("#tray .card").count() == 2
    page.locator("#unpin").click()
    assert page.locator("#tray .card").count() == 0
    assert page.locator("#tray-empty").is_visible()


def test_search_finds_by_layer_channel_label_and_file(visit: Visit) -> None:
    page = visit.go(links.SEARCH)
    for words, n in (("3 1", None), ("000.png", None), ("nothing of the kind", 0)):
        page.locator("#search-all").fill(words)
        found = page.locator("#results .card").count()
        assert found == n if n is not None else found > 0
        assert visit.path.startswith("search.html#q=") or not words
    page.locator("#search-all").fill("3 1")
    assert page.locator("#results .cap b").all_inner_texts() == ["1 of 3"]


def test_a_layer_is_sorted_and_searched(visit: Visit) -> None:
    page = visit.go("layer-3.html")
    strengths = page.eval_on_selector_all("#grid .card", "all => all.map(c => +c.dataset.strength)")
    page.locator("#sort").select_option("-strength")
    found = page.eval_on_selector_all("#grid .card", "all => all.map(c => +c.dataset.strength)")
    assert found == sorted(strengths, reverse=True)
    page.locator("#search").fill("1")
    assert page.locator("#grid .card:visible").count() == 1
    assert page.locator("#shown").inner_text() == "1 of 2"
    page.locator("#search").fill("zebra")
    assert page.locator("#empty").is_visible()
    page.locator("#clear").click()
    assert page.locator("#grid .card:visible").count() == 2
    assert "sort=-strength" in page.url


def test_two_atlases_are_seen_side_by_side(visit: Visit) -> None:
    page = visit.go(links.INDEX)
    page.get_by_role("link", name="Compare").click()
    assert visit.path == links.COMPARE
    assert f"tiny.atlas on the left and {OTHER} on the right" in page.locator(".lede").inner_text()
    page.get_by_role("link", name="3", exact=True).click()
    assert visit.path == "compare-3.html"
    ours, theirs = page.locator(".change").first.locator("figure").all()
    for side in (ours, theirs):
        assert side.locator(".projection").is_visible()
        assert side.locator(".patch").is_visible()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        left, right = ours.bounding_box(), theirs.bounding_box()
        assert left is not None
        assert right is not None
        assert left["x"] + left["width"] < right["x"]
        assert (left["y"], left["width"], left["height"]) == (right["y"], right["width"], right["height"])
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("3")
    assert not theirs.locator(".projection").is_visible()
    assert theirs.locator(".patch").is_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/compare-5.html#view=patch")
    page.keyboard.press("u")
    page.wait_for_url("**/compare.html#view=patch")


def test_a_layer_of_several_pages_is_gathered_into_one(
    browser: sync_api.Browser, folders: dict[str, Path]
) -> None:
    visit = Visit(browser, folders["pages"])
    page = visit.go("layer-3.html")
    page.mouse.wheel(0, 4000)
    page.evaluate("window.dispatchEvent(new Event('scroll'))")
    page.wait_for_selector("#c1")
    assert page.locator("#grid .card").count() == 2
    assert not page.locator(".pages").is_visible()
    page.locator("#c1 a.pics").click()
    assert visit.path == "maps-3--2.html#m1"
    page.wait_for_selector(".map.on")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/maps-3--1.html#m0")
    visit.context.close()
    assert visit.wrong == []


def test_pointing_at_a_unit_draws_it_over_its_image(visit: Visit) -> None:
    page = visit.go(links.images(1))
    section = page.locator(".image").first
    assert section.locator(".seen-by:visible").count() == 0
    for i in (1, 0):
        section.locator("[data-shows]").nth(i).focus()
        shown = section.locator(".seen-by.on")
        assert shown.count() == 1
        assert shown.get_attribute("data-unit") == str(i)
        assert "projections.webp" in str(shown.locator(".over image").get_attribute("href"))
        over = shown.locator(".over")
        left, top, side = (float(str(over.get_attribute(key))) for key in ("x", "y", "width"))
        assert 0 <= left <= left + side <= 12
        assert 0 <= top <= top + side <= 12
    page.wait_for_load_state("networkidle")


def test_without_javascript_everything_is_readable(
    browser: sync_api.Browser, folders: dict[str, Path]
) -> None:
    visit = Visit(browser, folders["pages"], java_script_enabled=False)
    page = visit.go("layer-3.html")
    assert page.locator(".card image[href]").count() == 2
    page.locator(".pages a").nth(1).click()
    assert visit.path == "layer-3--2.html"
    page.locator("#c1 a.pics").click()
    assert page.locator("#m1").is_visible()
    assert page.locator(".js-only:visible").count() == 0
    page = visit.go("compare-3.html")
    assert page.locator(".change image[href]").count() == 4
    page.locator(".pages").first.locator("a").nth(1).click()
    assert visit.path == "compare-3--2.html"
    assert page.locator(".change image[href]").count() == 4
    page.goto(f"file://{folders['whole']}/maps-3--1.html#m1")
    assert page.locator(".map:visible").count() == 1
    assert page.locator(".map:visible .diptych image[href]").count() == 2
    assert page.locator(".map:visible .hits .t image[href]").count() == 4
    page.goto(f"file://{folders['whole']}/images--1.html")
    assert page.locator(".image .whole:visible image[href]").count() == page.locator(".image").count()
    # what only a script would load leaves no empty frame
    for path in sorted(folders["whole"].glob("*.html")):
        page.goto(f"file://{path}")
        assert page.locator("image[data-href]:visible").count() == 0
    visit.context.close()
    assert visit.wrong == [] or all(own.startswith("outside") for own in visit.wrong)


@pytest.mark.parametrize("has_scripts", [True, False])
def test_blocks_of_the_network_are_folded_and_unfolded(
    browser: sync_api.Browser, folders: dict[str, Path], has_scripts: bool
) -> None:
    visit = Visit(browser, folders["branched"], java_script_enabled=has_scripts)
    page = visit.go(links.INDEX)
    assert page.locator(".in:visible").count() == 13
    assert page.locator(".in:visible .node").count() == 13
    # a picture of the field and two of a map, once each: near ones by the script, or all at once without
    assert page.locator(".in .field:visible").count() == 13
    assert page.locator(".in .thumb svg:visible").count() == 26
    if not has_scripts:
        assert page.locator(".in svg:visible > image[href]").count() == 39
    one = page.locator("summary", has=page.get_by_text("one", exact=True))
    one.click()
    assert page.locator(".in:visible").count() == 9
    assert one.locator(".many:visible").count() == 1  # folded layers are one square
    alike = page.locator("details.alike > summary")
    assert "2 blocks alike, 8 layers" in alike.inner_text()
    alike.click()
    assert page.locator(".in:visible").count() == 5
    alike.click()
    one.click()
    assert page.locator(".in:visible").count() == 13
    page.wait_for_load_state("networkidle")
    page.get_by_role("link", name="two.cat", exact=True).click()
    assert visit.path == "layer-two.cat.html"
    visit.context.close()
    assert not has_scripts or visit.wrong == []


def test_the_lines_of_the_diagram_meet_and_branch(
    browser: sync_api.Browser, folders: dict[str, Path]
) -> None:
    visit = Visit(browser, folders["branched"])
    page = visit.go(links.INDEX)
    rows = page.eval_on_selector_all(
        ".layers .row .spine",
        "all => all.map(s => s.getBoundingClientRect()).map(r => [r.top, r.bottom, r.height])",
    )
    shown = [row for row in rows if row[2]]
    for (_, bottom, _), (top, _, _) in pairwise(shown):
        assert abs(bottom - top) < 1
    lanes = page.eval_on_selector_all(".in .node", "all => all.map(c => +c.getAttribute('cx'))")
    assert lanes == [10, *(10, 10, 26, 10) * 3]
    assert page.locator(".in .field:visible image").count() == 13  # on whole images
    visit.context.close()
    assert visit.wrong == []


@pytest.mark.skipif(
    not AXE.exists(), reason="npm install --no-save axe-core brings the accessibility checker"
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("site", "pages"), [("whole", "*.html"), ("branched", links.INDEX)])
def test_no_page_has_a_serious_violation(
    browser: sync_api.Browser, folders: dict[str, Path], site: str, pages: str, scheme: str
) -> None:
    # the checker is put into the page, which the page's own policy would refuse
    visit = Visit(browser, folders[site], color_scheme=scheme, bypass_csp=True)
    found = {}
    for path in sorted(folders[site].glob(pages)):
        page = visit.go(path.name)
        page.add_script_tag(path=str(AXE))
        result = page.evaluate("axe.run({resultTypes: ['violations']})")
        bad = [
            f"{own['id']}: {own['nodes'][0]['html'][:120]}"
            for own in result["violations"]
            if own["impact"] in ("serious", "critical")
        ]
        if bad:
            found[path.name] = bad
    visit.context.close()
    assert found == {}
