"""Reading everything in an atlas, watched: what comes out, or the error, and whether anything else was started."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

import jaxtyping

from backlight import open_atlas
from backlight.errors import BacklightError

MOST_SECONDS = 5.0
_FORBIDDEN = (
    "subprocess.",
    "os.system",
    "os.exec",
    "os.spawn",
    "os.posix_spawn",
    "os.fork",
    "pickle.",
    "ctypes.",
)
_started: list[str] = []
_watching = False


def outcome(path: Path) -> str:
    """Return what reading all of an atlas came to.

    Returns:
        `same DIGEST` of all that it holds, `refused`, or what must not be: `raw ...`, `hang`, `code ...`.
    """
    _started.clear()
    try:
        with _watched(), _limited(), without_type_checks():
            found = f"same {content(path)}"
    except BacklightError as error:
        found = "refused" if len(str(error).splitlines()) == 1 else f"raw {error!r}"
    except _HangError:
        found = "hang"
    except Exception as error:
        found = f"raw {type(error).__name__}: {str(error)[:200]}"
    return f"code {_started[0]}" if _started else found


def content(path: Path, drawn: bool = True, parts: bool = True) -> str:
    """Return a digest of everything that an atlas holds.

    Args:
        path: The atlas.
        drawn: Whether its figures are in it too.
        parts: Whether what earlier formats lack is in it too: bands, whole pictures, activations.
    """
    atlas = open_atlas(path)
    try:
        state = sha256()
        later = _of_later_formats(atlas) if parts else ()
        for part in (*_parts(atlas), *later, *(_figures(atlas) if drawn else ())):
            state.update(part if isinstance(part, bytes) else repr(part).encode("utf-8", "replace"))
        return state.hexdigest()[:16]
    finally:
        atlas.close()


def _parts(atlas: Any) -> Iterator[Any]:
    yield (
        atlas.model,
        atlas.rules,
        atlas.image_set,
        atlas.selection,
        atlas.preprocessing,
        atlas.phase,
        atlas.origin,
    )
    yield len(atlas.images), list(atlas.images.items()), atlas.skipped, atlas._repr_html_()
    for layer in atlas.layers:
        yield layer, layer.name, layer.operator, layer.rectified, layer.receptive_field, layer.channels
        yield layer.rules, layer.evidence, layer.foretelling, layer.studies
        yield None if layer.filters is None else layer.filters.tobytes()
        for channel in layer:
            own = layer[channel]
            yield *_fields(own), own.histogram.tobytes(), own.evidence, own.foretelling
            for hit in own.hits:
                yield *_fields(hit), hit.image, hit.patch.tobytes(), hit.projection_values.tobytes()


def _of_later_formats(atlas: Any) -> Iterator[Any]:
    for image_id in atlas.images:
        yield (image_id, *_bytes(atlas.images.whole(image_id)), atlas.hits_of(image_id))
    for rules in atlas.rule_sets[1:]:
        shown = atlas.under(rules)
        try:
            yield rules, shown.rules
            for layer in shown.layers:
                for channel in layer.channels:
                    for hit in layer[channel].hits:
                        yield hit, hit.patch.tobytes(), hit.projection_values.tobytes()
        finally:
            shown.close()
    for layer in atlas.layers:
        filters = layer.map_filters
        yield None if filters is None else (filters.weights.tobytes(), filters.groups)
        for channel in layer:
            for hit in layer[channel].hits:
                yield hit.label, *_bytes(hit.whole), *_bytes(hit.activation_map)
            for own in layer[channel].bands:
                yield own, own.image, *_bytes(own.whole)
                yield from (
                    () if own.tile is None else (own.tile.patch.tobytes(), own.tile.projection.tobytes())
                )


def _fields(record: Any) -> Iterator[Any]:
    """Yield the values of a record that are compared: its own line in a notebook leaves some out."""
    return (getattr(record, own.name) for own in fields(record) if own.compare)


def _bytes(thing: Any) -> Iterator[bytes]:
    if thing is not None:
        yield thing.tobytes()


def _figures(atlas: Any) -> Iterator[bytes]:
    name = list(atlas)[1]
    for picture in (
        atlas.figure(name),
        atlas.superposed(name, full_field=True),
        atlas.filters_figure(next(iter(atlas))),
    ):
        yield picture.tobytes()
    for own in (atlas[name][0], *atlas[name][0].hits[:1]):
        yield own._repr_png_()


@contextmanager
def without_type_checks() -> Iterator[None]:
    """Switch off the type checks of the tests: they read the first map of each layer that is passed around.

    The error of a damaged map would come from there, as one of the type checker's.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


class _HangError(BaseException):
    """Reading took too long."""


@contextmanager
def _limited() -> Iterator[None]:
    """Stop the block after so many seconds of computing: those of other processes do not count."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _HangError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _watched() -> Iterator[None]:
    global _watching
    _watching = True
    try:
        yield
    finally:
        _watching = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event.startswith(_FORBIDDEN):
        _started.append(f"{event} {arguments!r:.100}")


sys.addaudithook(_audit)
