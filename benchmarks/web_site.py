"""The site of an atlas: a large layer's page, many readers at once, scrolling, export, and the server's memory.

One atlas serves all: every feature map of a network over the demo's photographs, with evidence made up for the layer
that is looked at, since that makes its page longer. It is built once, in minutes, and kept in a folder. The server and
the export run in processes of their own. Scrolling is left out where there is no Chromium or Playwright.
Prints a table and writes benchmarks/results/site.json.

    python benchmarks/web_site.py [--network squeezenet1_0] [--readers 200] [--folder FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import backlight_demo
from backlight import open_atlas
from backlight.atlas import Evidence, keep_evidence
from backlight.web import links
from backlight.web.site import Site
from backlight_side import BuildOptions, build
from common import (
    load_network,
    machine,
    number,
    print_table,
    settings_from,
    sgemm_gflops,
    use_all_cores,
    write_results,
)
from web_site_clients import exported, first_byte, memory, reading, scrolled, served

PART = "site"
TARGETS = {"first_byte_ms": 50, "html_kb": 150, "frame_ms": 100, "export_s": 120, "export_files": 400}
_MADE_UP = {
    "deconvnet": 0.6,
    "turned": 0.2,
    "centre": 0.4,
    "random": 0.1,
    "sobel": 0.3,
    "other map": 0.25,
    "guided": 0.7,
}


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        network: A classifier of torchvision.
        layer: The layer that is looked at.
        layers: Layers of the atlas; None for the default layers.
        maps: Feature maps of each layer; None for all.
        images: Photographs of the demo, at most.
        readers: Readers at the same time.
        requests: Requests that each of them makes.
        times: How often the layer's page is asked for.
        pages: Addresses of each pass through the site that memory is measured over, evenly spread; None for all.
        passes: How many passes.
        folder: Where atlases are kept.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    network: str = "squeezenet1_0"
    layer: str = "classifier.2"
    layers: tuple[str, ...] | None = None
    maps: int | None = None
    images: int = 145
    readers: int = 200
    requests: int = 15
    times: int = 50
    pages: int | None = None
    passes: int = 3
    folder: str = str(Path(tempfile.gettempdir()) / "backlight-benchmarks")
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(
    layer="features.12.squeeze_activation",
    layers=("features.1", "features.12.squeeze_activation"),
    maps=70,
    images=20,
    readers=20,
    requests=5,
    times=5,
    pages=12,
    sgemm_sizes=(512,),
)


def run(settings: Settings) -> dict[str, Any]:
    """Return all that was measured, as plain JSON."""
    use_all_cores()
    load = os.getloadavg()[0]
    sgemm = sgemm_gflops(settings.sgemm_sizes)
    path = atlas_of(settings)
    atlas = open_atlas(path)
    site, own = Site(atlas), atlas[settings.layer]
    slug = site.views.slugs[settings.layer]
    paths, page, n_maps = list(site.paths), links.layer(slug), len(own.channels)
    about = {
        "bytes": path.stat().st_size,
        "maps": sum(len(layer.channels) for layer in atlas.layers),
        "layers": len(atlas),
        "images": atlas.n_scanned,
        "layer_maps": n_maps,
        "addresses": len(paths),
    }
    atlas.close()
    wanted = [own for own in paths if is_read(own, slug)]
    found: dict[str, Any] = {}
    with served(path) as server:
        asked = wanted, settings.readers, settings.requests
        found["readers"] = {kind: reading(server.address, *asked) for kind in ("cold", "warm")}
        found["page"] = first_byte(server.address, page, settings.times)
        found["scroll"] = scrolled(server.address, page, n_maps)
    with tempfile.TemporaryDirectory() as folder:
        found["export"] = exported(path, Path(folder) / "site")
    some = paths[:: max(1, len(paths) // settings.pages)] if settings.pages else paths
    with served(path) as server:
        found["memory"] = {"addresses": len(some), "resident_mb": memory(server, some, settings.passes)}
    shown = {name: value for name, value in asdict(settings).items() if name != "folder"}
    return {"machine": machine(sgemm), "settings": shown, "load": load, "atlas": about, **found}


def is_read(path: str, slug: str) -> bool:
    """Return whether readers ask for an address: pages, scripts and sheets of the layer, and what all pages have."""
    kinds = "layer-|maps-|wall-|data/cards-|sheets/"
    is_own = re.fullmatch(rf"({kinds}){re.escape(slug)}(--\d+(-[a-z-]+)?)?\.\w+", path)
    return not path.endswith(".json") and bool(is_own or not re.match(f"{kinds}|images--", path))


def atlas_of(settings: Settings) -> Path:
    """Return the atlas that is looked at; it is built unless it is there, and resumed where its build was stopped."""
    folder = Path(settings.folder)
    folder.mkdir(parents=True, exist_ok=True)
    _, net, _ = load_network(settings.network)
    photographs = sorted(backlight_demo.photographs().glob("*.jpg"))[: settings.images]
    small = "" if settings.maps is None else f"-{settings.maps}-{len(photographs)}"
    path = folder / f"{settings.network}{small}.atlas"
    build(net, photographs, path, BuildOptions(settings.maps, settings.layers))
    with closing(open_atlas(path)) as atlas:
        own = atlas[settings.layer]
        is_studied, channels = own.evidence is not None, own.channels
    if not is_studied:
        made_up = Evidence(_MADE_UP, "tells more than its position", True, "guided", 9)
        keep_evidence(path, settings.layer, made_up, dict.fromkeys(channels, made_up))
    return path


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of what was measured: header and rows."""
    atlas, page, scroll = results["atlas"], results["page"], results["scroll"]
    of = f"page of a layer of {atlas['layer_maps']:,} maps"
    rows = [
        [
            f"{of}: first byte, asked for again",
            f"{number(page['median_ms'])} ms",
            f"{TARGETS['first_byte_ms']} ms",
        ],
        [
            f"{of}: HTML",
            f"{page['bytes'] / 1e3:.0f} kB ({page['sent_bytes'] / 1e3:.0f} sent)",
            f"{TARGETS['html_kb']} kB",
        ],
    ]
    for kind, words in (("cold", "nothing made yet"), ("warm", "all made")):
        own, readers = results["readers"][kind], results["settings"]["readers"]
        who = f"{readers} readers at once, {words}"
        rows.append([f"{who}: errors", f"{own['errors']} of {own['requests']:,} requests", "0"])
        latency = (
            f"{number(own['rate'])} requests/s; {number(own['median_ms'])} ms, {number(own['late_ms'])} ms"
        )
        rows.append([f"{who}: rate; median latency, 95 % below", latency, "–"])
    if scroll is not None:
        longest = f"{scroll['longest_ms']:.0f} ms of {scroll['frames']:,} frames; 99 % below {scroll['late_ms']:.0f} ms"
        rows.append(["scrolling it to its end: longest frame", longest, f"{TARGETS['frame_ms']} ms"])
        task = f"{scroll['longest_task_ms']:.0f} ms of the processor"
        rows.append(["scrolling it to its end: longest task of the page", task, f"{TARGETS['frame_ms']} ms"])
        rows.append(["cards there at the end", f"{scroll['cards']:,}", f"{atlas['layer_maps']:,}"])
    export = results["export"]
    seconds = f"{number(export['seconds'])} s; {number(export['cpu_s'])} s of the processors"
    rows.append([f"export of {atlas['maps']:,} maps", seconds, f"{TARGETS['export_s']} s"])
    size = f"{export['files']:,} files, {export['bytes'] / 1e6:.0f} MB"
    rows.append(["its size", size, f"{TARGETS['export_files']} files"])
    before, *after = (f"{value:,.0f}" for value in results["memory"]["resident_mb"])
    rows.append(
        [
            f"resident memory, reading {results['memory']['addresses']:,} addresses again and again",
            f"{before} MB at the start; {', '.join(after)} MB after each pass",
            "flat after the first",
        ]
    )
    return ["what", "measured", "target"], rows


def describe(results: dict[str, Any]) -> str:
    """Return what was looked at, in one line."""
    atlas = results["atlas"]
    return (
        f"{results['settings']['network']}: {atlas['maps']:,} maps of {atlas['layers']} layers over {atlas['images']} "
        f"photographs, a file of {atlas['bytes'] / 1e6:,.0f} MB; load of the machine at the start {results['load']:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", metavar="NAME")
    parser.add_argument("--layer", metavar="NAME", help="the layer that is looked at")
    parser.add_argument("--readers", type=int, help="readers at the same time")
    parser.add_argument("--requests", type=int, help="requests of each of them")
    parser.add_argument("--pages", type=int, help="addresses that memory is measured over")
    parser.add_argument("--folder", help="where the atlas is kept")
    parser.add_argument("--quick", action="store_true", help="a small atlas and few readers")
    results = run(settings_from(parser.parse_args(), Settings(), QUICK))
    print_table(describe(results), *table(results))
    write_results(PART, results)


if __name__ == "__main__":
    main()
