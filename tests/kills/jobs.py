"""What is killed: four commands, the folders that they start from, and what must come out of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from backlight import Preprocessing, capture, open_atlas
from backlight.adaptive import PRESETS, AdaptiveConfig, AdaptiveDeconvNet, Block, LayerConfig
from backlight.cli import main
from backlight.errors import BadInputError
from conftest import SmallNet, make_pictures

RUNNING = (
    "is being created by a running build (",
    "is being written by a running build or study (",
)
NOTHING_YET = (
    "no atlas at ",
    "is empty, so it is not an atlas yet; call build again as before to resume it",
)

REFUSED = ("is being written by ", "exists already", "is locked by another process")
"""What a command is told that comes second."""

_BUILD = (
    "build model pictures -o a.atlas --layers relu1,pool,relu2,fc --maps 3 --top 2 --batch-size 4 --compile off "
    "--bands"
)
_EXTEND = "extend a.atlas model pictures --layers relu2,fc --maps 5 --rules guided"
_STUDY = "faithfulness a.atlas --maps 2 --hits 1 --shares 20 --fills mean"
_FIT = "adaptive fit pictures -o m.adn --preset small --epochs 4 --batch 6"


@dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
        name: What it is called.
        command: The command line, run in a folder with `pictures`.
        needs: A command that has run there before, to its end.
        outcome: Returns what the folder holds afterwards, to be compared.
        seen: Looks into the folder at any moment, as a reader; returns what is wrong, or None. It is told whether the
            command runs.
    """

    name: str
    command: str
    needs: str | None
    outcome: Callable[[Path], Any]
    seen: Callable[[Path, bool], str | None]


def make_folder(folder: Path) -> Path:
    """Return a folder with 12 pictures."""
    make_pictures(folder / "pictures", 12)
    return folder


def prepare() -> None:
    """Capture the network once, for all processes that are forked; make steps small, and waiting short."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = capture(SmallNet(), (3, 32, 32), Preprocessing.default(3, 32))
    models = import_module("backlight.cli.models")
    models.load_network = lambda *_: net  # type: ignore[attr-defined]
    models.load_network_of = lambda atlas, *_: (net, _source())  # type: ignore[attr-defined]
    import_module("backlight.engines.plan").SCAN_STEP_IMAGES = 4  # type: ignore[attr-defined]
    import_module("backlight.engines.work").LIGHT_IMAGES = 4  # type: ignore[attr-defined]
    import_module("backlight.atlas.certifying").STEP_IMAGES = 4  # type: ignore[attr-defined]
    import_module("backlight.atlas.opening").TIMEOUT_S = 0.05  # type: ignore[attr-defined]
    layers = tuple(LayerConfig(2, filter=3, block=Block(2, 2), weight=20.0) for _ in range(2))
    PRESETS["small"] = AdaptiveConfig(layers, size=(20, 20))


def _source() -> Any:
    from backlight import open_images

    return open_images("pictures")


def run(command: str) -> int:
    """Run a command line in this process and return its exit code."""
    try:
        main(command.split())
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _tables(folder: Path) -> dict[str, list[Any]]:
    """Return all rows of an atlas, and the names of the files beside it."""
    with sqlite3.connect(folder / "a.atlas") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = [
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        ]
        found = {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names
        }
    connection.close()
    return found | {"files": _files(folder)}


def _network(folder: Path) -> Any:
    return (folder / "m.adn").read_bytes(), _files(folder)


def _files(folder: Path) -> list[Any]:
    return sorted(path.name for path in folder.iterdir())


def _read_atlas(folder: Path, is_running: bool) -> str | None:
    """Show all that an atlas has, as `figure` and the pages do."""
    try:
        atlas = open_atlas(folder / "a.atlas")
    except BadInputError as error:
        text = str(error)
        is_known = any(known in text for known in (RUNNING if is_running else NOTHING_YET))
        nothing_begun = text.startswith("no atlas at ") and not (folder / "a.atlas.lock").exists()
        return None if is_known or nothing_begun else text
    try:
        is_done = atlas.phase == "done"
        if atlas.phase not in ("scan", "certify"):
            for layer in atlas.layers:
                maps = [layer[channel] for channel in layer.channels]
                hits = [hit for own in maps for hit in own.hits]
                if is_done and not all(hit.projection_values.shape for hit in hits):
                    return "a projection is missing"
                examples = [example for own in maps for example in own.bands]
                wholes = [own.whole is not None for own in (*hits, *examples)]
                tiles = [example.tile is not None for example in examples]
                _ = [hit.activation_map for hit in hits]
                if is_done and not all(wholes + tiles):
                    return "an example or a whole image is missing"
                _ = layer.evidence
    finally:
        atlas.close()
    return None


def _read_network(folder: Path, is_running: bool) -> str | None:
    if (folder / "m.adn").exists():
        AdaptiveDeconvNet.load(folder / "m.adn")
    return None


JOBS = {
    job.name: job
    for job in (
        Job("build", _BUILD, None, _tables, _read_atlas),
        Job("extend", _EXTEND, _BUILD, _tables, _read_atlas),
        Job("faithfulness", _STUDY, _BUILD, _tables, _read_atlas),
        Job("adaptive fit", _FIT, None, _network, _read_network),
    )
}
