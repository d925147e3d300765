"""Export: a site as a folder of plain files, which opens by double click and which any web host can show."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from backlight import __version__
from backlight.atlas import Atlas, open_atlas
from backlight.errors import BadInputError
from backlight.progress import Watching, as_progress, shows_progress
from backlight.storage import make_folder, unwritable
from backlight.web import links
from backlight.web.site import Site

if TYPE_CHECKING:
    from backlight.studies.diagnosis import Diagnosis
    from backlight.studies.evolution import EvolutionResult

    _Results: TypeAlias = tuple[EvolutionResult | None, Diagnosis | None]

MANIFEST = "backlight-export.json"
"""Lists what an export wrote, so that the next one into the same folder knows what is its own."""

_FEW, _NEIGHBOURS = 8, 8


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        index: The first page.
        n_files: Number of files.
        n_bytes: Their size together.
    """

    index: Path
    n_files: int
    n_bytes: int


@shows_progress
def export(
    atlas: Atlas,
    folder: Path | str,
    *,
    beside: Atlas | None = None,
    evolution: EvolutionResult | None = None,
    diagnosis: Diagnosis | None = None,
    progress: Watching = None,
) -> Exported:
    """Write the site of an atlas as plain files.

    Args:
        atlas: A finished atlas.
        folder: Where to; made if missing. One that holds an earlier export is written over.
        beside: Another atlas, whose maps are shown beside those of the same name (`backlight.compare`).
        evolution: The evolution of its feature maps in a training, which their pages show.
        diagnosis: What is wrong with its network, which has a page of its own.
        progress: True shows bars; a function is called with `export`, the number of files written and the number in
            all.

    Raises:
        BadInputError: The folder holds something else, the atlas is not finished, the two cannot be compared, or the
            evolution is of other feature maps.
        StorageError: It cannot be written.
    """
    folder, report = Path(folder), as_progress(progress)
    site = Site(atlas, beside, evolution, diagnosis)
    earlier = _earlier(folder)
    make_folder(folder)
    paths, n_bytes = list(site.paths), 0
    # the first page last: a folder without it is not mistaken for a whole site
    paths.sort(key=lambda path: path == links.INDEX)
    with _writing(folder):
        (folder / MANIFEST).write_text(
            json.dumps({"backlight": __version__, "files": sorted({*paths, *earlier})})
        )
        for done, (path, content) in enumerate(_contents(site, (evolution, diagnosis), paths), 1):
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)
            n_bytes += len(content)
            report("export", done, len(paths))
        for path in set(earlier) - set(paths):
            (folder / path).unlink(missing_ok=True)
        (folder / MANIFEST).write_text(json.dumps({"backlight": __version__, "files": sorted(paths)}))
    return Exported(folder / links.INDEX, len(paths), n_bytes)


def _contents(site: Site, results: _Results, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield each address with its content; those of a large atlas are made on all cores."""
    n_sheets = sum(path.endswith(".webp") for path in paths)
    if n_sheets <= _FEW or _n_cores() == 1:
        yield from ((path, _content(site, path)) for path in paths)
        return
    atlases = [own for own in (site.views.atlas, site.views.beside) if own is not None]
    known = [own.path.absolute() for own in atlases], results
    with ProcessPoolExecutor(_n_cores(), get_context("spawn"), _start, known) as pool:
        # a worker keeps what it knows of a layer, so neighbours go to one
        yield from zip(paths, pool.map(_made, paths, chunksize=_NEIGHBOURS), strict=True)


def _content(site: Site, path: str) -> bytes:
    answer = site.answer(path)
    assert answer is not None, path
    return answer.content


_sites: list[Site] = []
"""The site of a worker process, which keeps it."""


def _start(paths: Sequence[Path], results: _Results) -> None:
    atlas, *beside = map(open_atlas, paths)
    _sites.append(Site(atlas, beside[0] if beside else None, *results))


def _made(path: str) -> bytes:
    return _content(_sites[0], path)


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _earlier(folder: Path) -> list[str]:
    """Return what an earlier export wrote into a folder.

    Raises:
        BadInputError: It holds something that is not an export.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    try:
        found = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list):
        raise BadInputError(f"{str(folder)!r} holds other files; export into a new folder")
    # a manifest may have been changed by anybody: only plain names of our own kind of files are ever removed
    return [path for path in found if isinstance(path, str) and _is_ours(path)]


def _is_ours(path: str) -> bool:
    parts = path.split("/")
    return len(parts) <= 2 and all(part and not part.startswith(".") and "\\" not in part for part in parts)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from error
