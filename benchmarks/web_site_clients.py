"""The other side of the benchmark of the site: a server in its own process, its readers, and a browser that scrolls."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx2

from common import SEED

LONGEST_S = 900.0
"""After so long a part of the benchmark is given up."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_STEP = 120
"""Pixels that are scrolled in a frame: at 60 frames a second, seven screens a second."""

_SERVE = """
import sys
from backlight import open_atlas
from backlight.web import serve
serve(open_atlas(sys.argv[1]), ready=lambda address: print(address, flush=True))
"""
_EXPORT = """
import json, os, sys, time
from backlight import open_atlas
from backlight.web import export
if __name__ == "__main__":
    atlas, start = open_atlas(sys.argv[1]), time.perf_counter()
    found = export(atlas, sys.argv[2])
    taken = {"seconds": time.perf_counter() - start, "cpu_s": sum(os.times()[:4])}
    print(json.dumps({**taken, "files": found.n_files, "bytes": found.n_bytes}))
"""
# Frames are noted until all cards are there, the end of the page is reached, and half a second has passed since.
_SCROLL = """
([step, cards, longest]) => new Promise(done => {
  const frames = [], grid = document.getElementById("grid");
  let begin = 0, last = 0, after = 0;
  function tick(now) {
    if (last) frames.push(now - last); else begin = now;
    last = now;
    window.scrollBy(0, step);
    const left = document.documentElement.scrollHeight - innerHeight - scrollY;
    const isThere = left < 2 && grid.childElementCount >= cards;
    if (isThere && !after) after = now;
    if ((isThere && now - after > 500) || now - begin > longest)
      done({ frames: frames, cards: grid.childElementCount, seconds: (now - begin) / 1000 });
    else requestAnimationFrame(tick);
  }
  requestAnimationFrame(tick);
})
"""


@dataclass(frozen=True)
class Server:
    """A site that is served.

    Attributes:
        address: Its address, with a slash at its end.
        pid: The process.
    """

    address: str
    pid: int

    def resident_mb(self) -> float:
        """Return the resident memory of the process in megabytes (10^6)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


@contextmanager
def served(atlas: Path) -> Iterator[Server]:
    """Serve an atlas as `backlight serve` does, in a process of its own, which has no PyTorch."""
    command = [sys.executable, "-c", _SERVE, str(atlas)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Server(process.stdout.readline().strip(), process.pid)
        finally:
            process.terminate()


def exported(atlas: Path, folder: Path) -> dict[str, Any]:
    """Return seconds, files and bytes of an export in a process of its own, and those that it starts."""
    # a file, not `-c`: what the export starts imports the main module again
    script = folder.parent / "export_one.py"
    script.write_text(_EXPORT)
    command = [sys.executable, str(script), str(atlas), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def first_byte(address: str, path: str, times: int) -> dict[str, Any]:
    """Return the milliseconds to the first byte of a page that was asked for before, and its size."""
    taken = []
    with httpx2.Client(base_url=address, timeout=LONGEST_S) as client:
        page = client.get(path).raise_for_status()
        for _ in range(times):
            start = time.perf_counter()
            with client.stream("GET", path) as answer:
                pieces = answer.iter_raw()
                next(pieces)
                taken.append(1000 * (time.perf_counter() - start))
                deque(pieces, 0)  # the rest, so that the connection can be used again
    return {
        "median_ms": median(taken),
        "longest_ms": max(taken),
        "bytes": len(page.content),
        "sent_bytes": int(page.headers.get("content-length", page.num_bytes_downloaded)),
    }


def reading(address: str, paths: Sequence[str], readers: int, requests: int) -> dict[str, Any]:
    """Return errors, rate and latencies of readers at the same time, each with a connection and its own way.

    Args:
        address: The site.
        paths: Its addresses; each kind of file is asked for as often as each other.
        readers: How many there are.
        requests: How many requests each makes, one after the other.
    """
    kinds = defaultdict[str, list[str]](list)
    for path in paths:
        kinds[path.rpartition(".")[2]].append(path)
    taken, errors = list[float](), list[str]()

    async def read(client: httpx2.AsyncClient, number: int) -> None:
        draw = random.Random(SEED + number)
        for _ in range(requests):
            path, start = draw.choice(kinds[draw.choice(sorted(kinds))]), time.perf_counter()
            try:
                answer = await client.get(path)
            except httpx2.HTTPError as error:
                errors.append(f"{path}: {error!r}")
                continue
            taken.append(1000 * (time.perf_counter() - start))
            if answer.status_code != 200 or not answer.content:
                errors.append(f"{path}: {answer.status_code}")

    async def all_of_them() -> float:
        limits = httpx2.Limits(max_connections=readers, max_keepalive_connections=readers)
        async with (
            asyncio.timeout(LONGEST_S),
            httpx2.AsyncClient(base_url=address, limits=limits, timeout=LONGEST_S) as client,
        ):
            start = time.perf_counter()
            await asyncio.gather(*(read(client, number) for number in range(readers)))
            return time.perf_counter() - start

    seconds = asyncio.run(all_of_them())
    return {
        "requests": readers * requests,
        "errors": len(errors),
        "first_errors": errors[:5],
        "seconds": seconds,
        "rate": readers * requests / seconds,
        "median_ms": median(taken),
        "late_ms": quantiles(taken, n=20)[-1],
    }


def memory(server: Server, paths: Sequence[str], passes: int) -> list[float]:
    """Return the server's resident memory in megabytes before it was asked anything, and after each pass."""
    found = [server.resident_mb()]
    with httpx2.Client(base_url=server.address, timeout=LONGEST_S) as client:
        for _ in range(passes):
            for path in paths:
                client.get(path).raise_for_status()
            found.append(server.resident_mb())
    return found


def scrolled(address: str, path: str, cards: int) -> dict[str, Any] | None:
    """Return the frames of scrolling a layer's page to its end in Chromium; None where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    chromium = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if chromium is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address + path, wait_until="networkidle")
        browser.start_tracing(page=page)
        seen = page.evaluate(_SCROLL, [_STEP, cards, 1000 * LONGEST_S / 5])
        trace = json.loads(browser.stop_tracing())["traceEvents"]
        browser.close()
    frames = sorted(seen["frames"])
    return {
        "cards": seen["cards"],
        "frames": len(frames),
        "seconds": seen["seconds"],
        "longest_ms": frames[-1],
        "late_ms": frames[int(0.99 * (len(frames) - 1))],
        "over_100_ms": sum(frame > 100 for frame in frames),
        "longest_task_ms": longest_task_ms(trace),
    }


def longest_task_ms(trace: Sequence[dict[str, Any]]) -> float:
    """Return the most milliseconds of the processor that a page's main thread worked without a pause.

    Args:
        trace: The events of a trace of Chromium.
    """
    threads = [own for own in trace if own["name"] == "thread_name"]
    pages = {(own["pid"], own["tid"]) for own in threads if own["args"]["name"] == "CrRendererMain"}
    tasks = (own for own in trace if own["name"] == "RunTask" and (own["pid"], own["tid"]) in pages)
    return max(own.get("tdur", 0) for own in tasks) / 1000
