"""The probe in a real browser: an image comes in by each way, units are clicked, work is stopped."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from threading import Thread

import pytest

from backlight.atlas import Atlas
from backlight.network import Network
from backlight.web import links, serving
from web.probe.test_shelf import png
from web.test_browser import AXE, Visit, browser, pytestmark, sync_api

__all__ = ["browser", "pytestmark"]


@pytest.fixture
def served(atlas: Atlas, net: Network) -> Iterator[str]:
    """The address of a server with a probe."""
    import uvicorn

    config = uvicorn.Config(serving.app(atlas, net=net), log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with serving._listening(None) as listener:
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def visit(browser: sync_api.Browser, served: str) -> Iterator[Visit]:
    """A tab at the server, in which nothing may go wrong."""
    found = Visit(browser, served)
    yield found
    found.context.close()
    assert found.wrong == []


def settled(page: sync_api.Page) -> sync_api.Page:
    """Wait until no work is open, and something is shown."""
    page.wait_for_selector("#unit:not([hidden])")
    page.wait_for_function("() => !document.querySelector('#jobs li')")
    return page


def test_an_uploaded_image_is_probed_by_clicking(visit: Visit) -> None:
    page = visit.go(links.INDEX)
    page.get_by_role("link", name="Probe").click()
    assert not page.locator("#probed").is_visible()
    page.locator("#layer").select_option(label="3 · 3 × 5 × 5")
    page.locator("#file").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": png(3)})
    settled(page)
    assert page.locator("#name").inner_text() == "mine.png"
    assert page.locator("#rules figcaption").all_inner_texts() == [
        "deconvnet, as in the atlas", "guided", "gradient",
    ]  # fmt: skip
    first = page.locator("#unit-title").inner_text()
    box = page.locator("#grid").bounding_box()
    assert box is not None
    page.locator("#grid").click(position={"x": box["width"] * 0.9, "y": box["height"] * 0.1})
    page.wait_for_function(
        "() => document.querySelector('#unit-title').textContent.endsWith('row 0, column 4')"
    )
    settled(page)
    assert first.split(",")[0] == page.locator("#unit-title").inner_text().split(",")[0]
    assert "at=0,4" in page.url
    # over the image the unit whose field's middle is nearest is taken
    page.locator("#stage").click(position={"x": 2, "y": 2})
    page.wait_for_function(
        "() => document.querySelector('#unit-title').textContent.endsWith('row 0, column 0')"
    )
    settled(page)
    page.locator("#row").fill("3")
    page.locator("#place button").first.click()
    page.wait_for_function(
        "() => document.querySelector('#unit-title').textContent.endsWith('row 3, column 0')"
    )
    settled(page)
    page.locator("#strongest").click()
    page.wait_for_function(f"() => document.querySelector('#unit-title').textContent === '{first}'")
    settled(page)
    page.locator("#occlude").click()
    page.wait_for_selector("#occluded:not([hidden])")
    assert "of the activation" in page.locator("#occluded figcaption").inner_text()


def test_a_link_from_a_map_and_one_from_an_image_lead_here(visit: Visit) -> None:
    page = visit.go("maps-3--1.html#m1")
    page.locator(".map:visible").get_by_role("link", name="probe", exact=True).click()
    settled(page)
    assert page.locator("#unit-title").inner_text().startswith("Map 1,")
    address = page.url
    assert "probe.html#3:1&image=atlas-" in address
    page.goto("about:blank")
    page.goto(address)
    settled(page)
    assert page.url == address
    page = visit.go(links.images(1))
    page.get_by_role("link", name="Probe it").first.click()
    settled(page)
    assert "image=atlas-" in page.url


def test_an_image_is_dropped_and_pasted(visit: Visit) -> None:
    page = visit.go(links.PROBE)
    for i, event in enumerate(("drop", "paste")):
        page.evaluate(
            """([kind, name, content]) => {
                const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0)), moved = new DataTransfer();
                moved.items.add(new File([bytes], name, {type: "image/png"}));
                document.body.dispatchEvent(kind === "drop"
                    ? new DragEvent("drop", {dataTransfer: moved, bubbles: true, cancelable: true})
                    : new ClipboardEvent("paste", {clipboardData: moved, bubbles: true}));
            }""",
            [event, f"{event}.png", base64.b64encode(png(10 + i)).decode()],
        )
        page.wait_for_function(f"() => document.querySelector('#name').textContent === '{event}.png'")
        settled(page)


def test_an_inversion_is_stopped_and_its_best_is_shown(visit: Visit) -> None:
    page = visit.go(links.PROBE)
    page.locator("[data-pick]").first.click()
    settled(page)
    page.locator("#invert").click()
    page.wait_for_function("() => document.querySelector('#jobs progress')?.value > 0")
    page.locator("#jobs button").click()
    page.wait_for_selector("#inverted:not([hidden])")
    assert "stopped early" in page.locator("#inverted figcaption").inner_text()
    assert page.locator("#jobs li").count() == 0


def test_what_is_no_picture_is_said(visit: Visit) -> None:
    page = visit.go(links.PROBE)
    page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.wait_for_function("() => document.querySelector('#said').textContent.includes('not an image')")
    # the browser itself notes that an answer was a refusal
    visit.wrong = [own for own in visit.wrong if "400 (Bad Request)" not in own]


def test_a_fully_connected_layer_has_no_grid(visit: Visit) -> None:
    page = visit.go(links.PROBE)
    page.locator("#layer").select_option("5")
    page.locator("[data-pick]").first.click()
    settled(page)
    assert not page.locator("#grid").is_visible()
    assert page.locator("#occlude").is_disabled()


@pytest.mark.skipif(
    not AXE.exists(), reason="npm install --no-save axe-core brings the accessibility checker"
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_probe_has_no_serious_violation(browser: sync_api.Browser, served: str, scheme: str) -> None:
    visit = Visit(browser, served, color_scheme=scheme, bypass_csp=True)
    page = visit.go(links.PROBE)
    page.locator("[data-pick]").first.click()
    settled(page)
    page.add_script_tag(path=str(AXE))
    result = page.evaluate("axe.run({resultTypes: ['violations']})")
    bad = [own["id"] for own in result["violations"] if own["impact"] in ("serious", "critical")]
    visit.context.close()
    assert bad == []
