"""Two atlases that are compared as files: every table, row by row."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import backlight

LEFT_OUT = {
    "sqlite_sequence, sqlite_stat and the like": "SQLite's own",
    "table checksum": "follows from the rows, by a rule that belongs to the version of the format",
    "pragma user_version": "the version of the format",
    "meta: format, version, created, updated": "times and versions, if a format keeps them",
    "study: study, format, checksum": "the name and version of a saved result, and what follows from the text",
}
"""What of the files is not compared, and why."""

_META = {"format", "version", "created", "updated"}
_STUDY = {"study", "format", "checksum"}
_MODEL = """
import torch
from torch import nn

def net():
    torch.manual_seed(5)
    parts = [nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(3, 2), nn.Conv2d(8, 12, 3)]
    return nn.Sequential(*parts, nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))
"""


def by_python(folder: Path) -> dict[str, Any]:
    """Return the tables of an atlas that `build` makes: rules by layer, single maps, a picture that is broken."""
    torch.manual_seed(7)
    parts = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(6, 10, 3, padding=1), nn.SiLU()]
    model = nn.Sequential(
        *parts, nn.AvgPool2d(2), nn.Conv2d(10, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)
    )
    model(torch.zeros(1, 3, 32, 32))
    preprocessing = backlight.Preprocessing(36, (32, 32), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    net = backlight.capture(model.eval(), (3, 32, 32), preprocessing)
    layers = [*net.default_layers[:3], net.layers[-1]]
    rules = {layers[0].name: backlight.GRADIENT, layers[1].name: backlight.GUIDED}
    path = _fresh(folder / "python.atlas")
    _pictures(folder / "pictures")
    with chdir(folder):  # so that the names of the images do not depend on where the dump is
        backlight.build(net, "pictures", path, layers, 4, rules, maps=5, seed=3, batch_size=8, compile="off")
    return dict(tables(path))


def by_command(folder: Path) -> dict[str, Any]:
    """Return the tables of an atlas that the command line builds and studies: origin and evidence are in it too."""
    _pictures(folder / "pictures")
    (folder / "model.py").write_text(_MODEL, "utf-8")
    _fresh(folder / "command.atlas")
    size = ["--resize", "44", "--size", "40", "--mean", "0.5", "--std", "0.25"]
    _run(folder, "build", "model.py:net", "pictures", "-o", "command.atlas", "--top", "3", *size)
    _run(
        folder,
        "faithfulness",
        "command.atlas",
        "model.py:net",
        "pictures",
        "--maps",
        "2",
        "--hits",
        "2",
        "--shares",
        "10,20",
    )
    return dict(tables(folder / "command.atlas"))


ATLASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "atlas/by_python": by_python,
    "atlas/by_command": by_command,
}


def _fresh(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path


def _run(folder: Path, *arguments: str) -> None:
    program = "import sys; from backlight_program import main; main()"
    paths = [str(Path(path).absolute()) for path in os.environ["PYTHONPATH"].split(os.pathsep)]
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, env=own, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(
            f"backlight {' '.join(arguments)} exits {done.returncode}: {done.stderr or done.stdout}"
        )


def _pictures(folder: Path) -> Path:
    """Write 20 pictures in two class folders and one that cannot be read; PNG, so that no decoder rounds."""
    generator = np.random.default_rng(1)
    for i in range(20):
        own = folder / "ab"[i % 2]
        own.mkdir(parents=True, exist_ok=True)
        small = generator.integers(0, 256, (7, 7, 3), np.uint8)
        Image.fromarray(small).resize((56 - i, 44 + i), Image.Resampling.NEAREST).save(own / f"{i:02}.png")
    (folder / "a" / "broken.png").write_bytes(b"no picture")
    return folder


def tables(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield every value of an atlas file with its place: table, key and column. `LEFT_OUT` says what is not there."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for (table,) in names:
        if table.startswith("sqlite_") or table == "checksum":
            continue
        cursor = connection.execute(f"SELECT * FROM {table}")
        columns = [column for column, *_ in cursor.description]
        keys = [c for c in columns if c in ("key", "layer_id", "channel", "rank", "bin", "image_id")]
        if table in ("hit", "band"):
            keys.remove("image_id")
        rows = [dict(zip(columns, row, strict=True)) for row in cursor]
        yield f"{table}: rows", len(rows)
        for row in rows:
            place = " ".join([table, *(str(row[key]) for key in keys)])
            if table == "meta" and row["key"] in _META:
                continue
            for column in columns:
                if column not in keys:
                    yield from _value(f"{place} {column}", row[column])
    connection.close()


def _value(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a value, taken apart where it is JSON or holds arrays."""
    if isinstance(value, str) and value[:1] in "{[":
        yield place, json.loads(value)
    elif isinstance(value, bytes) and value[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(value)) as members:
            for name in members.namelist():
                array = np.load(members.open(name), allow_pickle=False)
                if name == "json.npy":
                    found = json.loads(array.tobytes())
                    yield f"{place} {name}", {k: v for k, v in found.items() if k not in _STUDY}
                else:
                    yield f"{place} {name}", array
    elif isinstance(value, bytes):
        yield place, np.frombuffer(value, np.uint8)
    else:
        yield place, value
