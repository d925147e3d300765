"""Serve: the site of an atlas on this machine, page by page as they are asked for."""

from __future__ import annotations

import gzip
import hashlib
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.web import links
from backlight.web.site import POLICY, Answer, Site

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from backlight.network import Network
    from backlight.studies.diagnosis import Diagnosis
    from backlight.studies.evolution import EvolutionResult
    from backlight.web.probe.routes import Probe

HOST = "127.0.0.1"
FIRST_PORT = 8123
_PORTS_TRIED, _KEPT_BYTES = 50, 200_000_000
_YEAR, _LEVEL = 31_536_000, 6


def app(
    atlas: Atlas,
    beside: Atlas | None = None,
    *,
    evolution: EvolutionResult | None = None,
    diagnosis: Diagnosis | None = None,
    net: Network | None = None,
    images: Any = None,
) -> Starlette:
    """Return the application that answers with an atlas's site.

    No address is a path of the file system: each is looked up in the list of the site's addresses. Only requests that
    name this machine as their host are answered, so that no other web site can read an atlas by way of the browser
    (DNS rebinding).

    Args:
        atlas: A finished atlas.
        beside: Another one, whose maps are shown beside those of the same name.
        evolution: The evolution of its feature maps in a training, which their pages show.
        diagnosis: What is wrong with its network, which has a page of its own.
        net: The network that it was built with, for the page that probes images of one's own; None leaves it out.
        images: The images that it was built over, to probe the originals; None takes those that the atlas keeps.

    Raises:
        BadInputError: The two cannot be compared, the evolution is of other feature maps, or the network or the images
            are not the atlas's.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import Response
    from starlette.routing import Route

    site = Site(atlas, beside, evolution, diagnosis, has_probe=net is not None)
    kept = _Kept(site)
    probe = None if net is None else _probe(site, net, images)

    async def page(request: Request) -> Response:
        path = request.path_params["path"] or links.INDEX
        found = kept.found(path) or await run_in_threadpool(kept.answer, path)
        if found is None:
            return Response(_NOT_FOUND, 404, HEADERS, "text/html; charset=utf-8")
        answer, tag = found
        # at the same address the next atlas that is served here has other pictures, but with another version
        is_dated = path.endswith(".webp") and request.query_params.get("v") == site.views.version
        cache = f"private, max-age={_YEAR}, immutable" if is_dated else "private, no-cache"
        headers = {**HEADERS, "ETag": tag, "Cache-Control": cache}
        if request.headers.get("if-none-match") == tag:
            return Response(None, 304, headers)
        content = answer.content
        if _is_packed(answer):
            headers["Vary"] = "Accept-Encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                headers["Content-Encoding"] = "gzip"
            else:
                content = gzip.decompress(content)
        return Response(content, 200, headers, answer.media_type)

    return Starlette(
        routes=[*(probe.routes if probe else ()), Route("/{path:path}", page, methods=["GET"])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
        lifespan=probe.lifespan if probe else None,
    )


def _probe(site: Site, net: Network, images: Any) -> Probe:
    from backlight.images import open_images
    from backlight.web.probe.prober import Prober
    from backlight.web.probe.routes import Probe

    source = None if images is None else open_images(images)
    return Probe(Prober(site.views, net, source, site.lock), HEADERS)


HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer says to the browser."""

_NOT_FOUND = (
    b"<!doctype html><title>Not found</title>"
    b'<p>There is no such page. <a href="/index.html">The network</a></p>'
)


def _is_packed(answer: Answer) -> bool:
    """Return whether an answer is kept, and sent, by gzip: all but pictures, which that makes no smaller."""
    return answer.media_type != "image/webp"


class _Kept:
    """The latest answers of a site, up to so many bytes, packed once and not each time that they are sent.

    One answer is made at a time, since an atlas has one connection; those that are there need not wait for it.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._lock, self._making = site, Lock(), site.lock
        self._answers: OrderedDict[str, tuple[Answer, str]] = OrderedDict()
        self._n_bytes = 0

    def found(self, path: str) -> tuple[Answer, str] | None:
        """Return what stands at an address, with its ETag, if it is there."""
        with self._lock:
            if path in self._answers:
                self._answers.move_to_end(path)
            return self._answers.get(path)

    def answer(self, path: str) -> tuple[Answer, str] | None:
        """Return what stands at an address, with its ETag."""
        with self._making:
            if found := self.found(path):  # made while this one waited
                return found
            made = self._site.answer(path)
            if made is None:
                return None
            tag = f'"{hashlib.blake2b(made.content, digest_size=12).hexdigest()}"'
            if _is_packed(made):
                made = replace(made, content=gzip.compress(made.content, _LEVEL, mtime=0))
            with self._lock:
                self._answers[path] = made, tag
                self._n_bytes += len(made.content)
                while self._n_bytes > _KEPT_BYTES and len(self._answers) > 1:
                    _, (old, _) = self._answers.popitem(last=False)
                    self._n_bytes -= len(old.content)
            return made, tag


def serve(
    atlas: Atlas,
    port: int | None = None,
    *,
    beside: Atlas | None = None,
    evolution: EvolutionResult | None = None,
    diagnosis: Diagnosis | None = None,
    net: Network | None = None,
    images: Any = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve an atlas's site on this machine until Ctrl-C.

    Args:
        atlas: A finished atlas.
        port: The port; None takes the first free one from 8123 on.
        beside: Another atlas, whose maps are shown beside those of the same name (`backlight.compare`).
        evolution: The evolution of its feature maps in a training, which their pages show.
        diagnosis: What is wrong with its network, which has a page of its own.
        net: The network that it was built with, for the page that probes images of one's own; None leaves it out.
        images: The images that it was built over, to probe the originals; None takes those that the atlas keeps.
        ready: Called with the address once it is answered.

    Raises:
        BadInputError: The port is taken, or none is free; the two atlases cannot be compared; the evolution is of other
            feature maps; or the network or the images are not the atlas's.
    """
    import uvicorn

    application = app(atlas, beside, evolution=evolution, diagnosis=diagnosis, net=net, images=images)

    with _listening(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        config = uvicorn.Config(
            application, log_level="warning", access_log=False, timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        if ready is not None:
            ready(address)  # the socket listens already: a request waits until it is answered
        server.run(sockets=[listener])


def _listening(port: int | None) -> socket.socket:
    """Return a socket that listens."""
    for own in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED):
        # asyncio turns Nagle's algorithm, which holds answers back for 40 ms, off only where the protocol is named
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.bind((HOST, own))
            listener.listen(128)
        except OSError:
            listener.close()
            continue
        return listener
    taken = f"port {port} is taken" if port is not None else f"no port from {FIRST_PORT} on is free"
    raise BadInputError(taken, python="pass another port", command="name another with --port")
