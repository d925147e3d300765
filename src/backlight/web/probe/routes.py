"""The addresses of a probe: images come in, jobs are asked for, looked at and stopped.

A picture is read from the request's body and decoded in memory; nothing is written. What changes something needs a
header that another web site cannot send without asking first (CORS), and this server never agrees.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backlight.errors import BacklightError, BadInputError
from backlight.web import links
from backlight.web.probe.jobs import Jobs, TooBusy, Work
from backlight.web.probe.limits import MOST_BYTES
from backlight.web.probe.prober import Prober

ASKED, NAME = "X-Backlight", "X-Name"
"""Headers: that a page of this site asks, and the name of a picture, percent-encoded."""

_MOST_ASKED, _LONGEST_NAME = 10_000, 200


class Probe:
    """What a server answers for a prober.

    Args:
        prober: Looks at the images.
        headers: What every answer says to the browser.
    """

    def __init__(self, prober: Prober, headers: Mapping[str, str]) -> None:
        self._prober, self._jobs = prober, Jobs()
        self._headers = {**headers, "Cache-Control": "no-store"}

    @property
    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route(f"/{links.PROBE_IMAGES}", self._answering(self._upload), methods=["POST"]),
            Route(f"/{links.PROBE_IMAGES}/{{id}}", self._answering(self._image), methods=["GET"]),
            Route(f"/{links.PROBE_JOBS}", self._answering(self._submit), methods=["POST"]),
            Route(f"/{links.PROBE_JOBS}/{{id}}", self._answering(self._state), methods=["GET"]),
            Route(f"/{links.PROBE_JOBS}/{{id}}", self._answering(self._stop), methods=["DELETE"]),
        ]

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Stop all jobs when the server ends."""
        yield
        await run_in_threadpool(self._jobs.close)

    def _answering(
        self, answer: Callable[[Request], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a request with JSON, or with one line that says what is wrong."""

        async def answered(request: Request) -> Response:
            if request.method != "GET" and ASKED not in request.headers:
                return self._json({"problem": "only pages of this site may ask this"}, 403)
            try:
                return self._json(await answer(request))
            except TooBusy as error:
                return self._json({"problem": str(error)}, 429)
            except BacklightError as error:
                return self._json({"problem": str(error)}, 400)

        return answered

    def _json(self, values: Any, status: int = 200) -> Response:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        return Response(text.encode(), status, self._headers, "application/json")

    async def _upload(self, request: Request) -> dict[str, Any]:
        content = await _body(request, MOST_BYTES)
        name = unquote(request.headers.get(NAME, ""))[:_LONGEST_NAME] or "your image"
        return await run_in_threadpool(
            lambda: asdict(self._prober.image(self._prober.shelf.put(content, name)))
        )

    async def _image(self, request: Request) -> dict[str, Any]:
        wanted = request.path_params["id"]
        return await run_in_threadpool(lambda: asdict(self._prober.image(self._prober.shelf.get(wanted))))

    async def _submit(self, request: Request) -> dict[str, str]:
        try:
            asked = json.loads(await _body(request, _MOST_ASKED))
        except ValueError as error:
            raise BadInputError("a job is asked for in JSON") from error
        return {"id": self._jobs.submit(self._work(asked))}

    async def _state(self, request: Request) -> dict[str, Any]:
        state = self._jobs.state(request.path_params["id"])
        if state is None:
            raise BadInputError("this job is no longer known; ask again")
        return asdict(state)

    async def _stop(self, request: Request) -> dict[str, Any]:
        self._jobs.stop(request.path_params["id"])
        return {}

    def _work(self, asked: Any) -> Work:
        """Return the work that a page asks for.

        Raises:
            BadInputError: It is none of them, or lacks something.
        """
        kind, image, layer = (_text(asked, key) for key in ("kind", "image", "layer"))
        prober = self._prober
        if kind == "look":
            return partial(prober.look, image, layer)
        if kind == "invert":
            return partial(prober.invert, image, layer)
        if kind in ("probe", "occlude"):
            row, col = asked.get("row"), asked.get("col")
            place = None if row is None and col is None else (_number(asked, "row"), _number(asked, "col"))
            work = prober.probe if kind == "probe" else prober.occlude
            return partial(work, image, layer, _number(asked, "channel"), place)
        raise BadInputError(f"a job is look, probe, occlude or invert, not {kind[:20]!r}")


async def _body(request: Request, most: int) -> bytes:
    """Return the body of a request; reading stops where it is too long.

    Raises:
        BadInputError: It has more bytes than are taken.
    """
    parts, n_bytes = [], 0
    async for part in request.stream():
        n_bytes += len(part)
        if n_bytes > most:
            raise BadInputError(f"at most {most / 1e6:g} MB are taken here; make the picture smaller")
        parts.append(part)
    return b"".join(parts)


def _text(asked: Any, key: str) -> str:
    value = asked.get(key) if isinstance(asked, dict) else None
    if not isinstance(value, str):
        raise BadInputError(f"a job needs its {key}")
    return value


def _number(asked: dict[str, Any], key: str) -> int:
    value = asked.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadInputError(f"a job of a unit needs its {key}, a whole number")
    return value
