"""Joining: one atlas of several, which are of the same and share no feature map, in a fresh file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from backlight.atlas.descriptions import LayerDescription
from backlight.atlas.executing import write_filters
from backlight.atlas.reader import Atlas
from backlight.atlas.rows import INSERT_HIT
from backlight.atlas.scanned import kept_scan
from backlight.atlas.writer import AtlasWriter
from backlight.engines.identity import RulesIdentity
from backlight.engines.plan import Plan
from backlight.progress import Progress
from backlight.scan import LayerScan, Scan
from backlight.storage import replacing, sweep
from backlight.storage.arrays import packed

_OF_MAPS = ("hit", "band", "activation", "certainty")
_OF_LAYERS = ("evidence", "study")
_OF_IMAGES = ("image", "skipped", "picture")
_OWN_META = ("identity", "phase")
"""What a joined atlas says for itself."""

_HIT_WITHOUT_TILE = "layer_id, channel, rank, value, image_id, row, col"
_INSERT_TILE = "INSERT INTO rule_tile VALUES (?, ?, ?, ?, ?, ?)"

Row = tuple[Any, ...]


def join(
    plan: Plan, path: Path, others: Sequence[Path], by_rules: Sequence[Path], progress: Progress
) -> None:
    """Put an atlas together with others in a fresh file, which takes the place of the first.

    Args:
        plan: What all of them hold together, with the settings and parts of the first.
        path: The atlas that the others are added to. What studies found of its layers is kept.
        others: Finished atlases of further feature maps, over the same images.
        by_rules: Finished atlases of the same hits, projected by other rules; those of the first are further maps of
            its own other rule sets.
        progress: Called with `join`, the number of steps done and of all.

    Raises:
        DamagedAtlasError: One of them is damaged: what is copied would look sound.
        StorageError: The fresh file cannot be written.
    """
    fresh = path.with_name(f"{path.name}.joined")
    sweep(path)
    for left in (fresh, fresh.with_name(f"{fresh.name}-journal")):  # of a run that was killed
        left.unlink(missing_ok=True)
    with ExitStack() as opened:
        first, *more = (opened.enter_context(closing(Atlas(own))) for own in (path, *others))
        under = [opened.enter_context(closing(Atlas(own))) for own in by_rules]
        writer = opened.enter_context(closing(AtlasWriter(fresh, plan)))
        steps: list[Callable[[sqlite3.Connection], None]] = [
            *(_Copy(plan, atlas, first) for atlas in (first, *more)),
            lambda connection: _keep_scan(connection, plan, (first, *more)),
            _OtherRules(plan, first, under),
        ]
        for atlas in (first, *more, *under):
            for kind, keys in atlas.file.groups():
                atlas.file.group(kind, *keys)
        with writer.step("scan", then="project") as connection:
            for n_done, step in enumerate(steps, 1):
                step(connection)
                progress("join", n_done, len(steps) + 1)
        write_filters(writer)
        with writer.step("project", then="done"):
            pass
    with replacing(path) as (place,):
        fresh.chmod(place.stat().st_mode)
        fresh.replace(place)
    progress("join", len(steps) + 1, len(steps) + 1)


def take_hits(writer: AtlasWriter, paths: Sequence[Path]) -> None:
    """Begin a file with the hits that atlases have of its feature maps, unless it has begun: nothing is scanned."""
    if writer.phase != "scan":
        return
    wanted = {(i, channel) for i, channels in enumerate(writer.plan.channels) for channel in channels}
    with writer.step("scan", then="project") as connection, ExitStack() as opened:
        for path in paths:
            atlas = opened.enter_context(closing(Atlas(path)))
            for table in ("image", "skipped"):
                _insert(connection, table, atlas.file.stream(table))
            for table in ("feature_map", "certainty"):
                _insert(connection, table, _placed(writer.plan, atlas, table))
            hits = _placed(writer.plan, atlas, "hit", _HIT_WITHOUT_TILE)  # the tiles are to be made
            connection.executemany(INSERT_HIT, (row for row in hits if row[:2] in wanted))


class _Copy:
    """Copies the rows of one of the atlases that are joined.

    Args:
        plan: What the joined atlas holds.
        atlas: The atlas.
        first: The one that the others are added to, which may be the same.
    """

    def __init__(self, plan: Plan, atlas: Atlas, first: Atlas) -> None:
        self._plan, self._atlas, self._is_first = plan, atlas, atlas is first
        place = {layer.name: i for i, layer in enumerate(plan.layers)}
        # Layers of which the first atlas knows nothing, and feature maps that this one shows.
        self._new = {place[name] for name in atlas if self._is_first or name not in first}
        shown = atlas.selection.channels.items()
        self._shown = {(place[name], channel) for name, own in shown for channel in own}

    def __call__(self, connection: sqlite3.Connection) -> None:
        file, plan = self._atlas.file, self._plan
        if self._is_first:
            rows = [row for row in file.stream("meta") if row[0] not in _OWN_META]
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
        for table in _OF_IMAGES:
            _insert(connection, table, file.stream(table))
        for table in _OF_MAPS:
            _insert(connection, table, _placed(plan, self._atlas, table))
        for table in _OF_LAYERS:
            placed = _placed(plan, self._atlas, table)
            _insert(connection, table, (row for row in placed if row[0] in self._new))
        # Of maps that are shown, the atlas that shows them knows the strongest activation best: it is certified.
        placed = _placed(plan, self._atlas, "feature_map")
        own = (row for row in placed if row[0] in self._new or row[:2] in self._shown)
        _insert(connection, "feature_map", own, "REPLACE")


def _placed(plan: Plan, atlas: Atlas, table: str, columns: str = "*") -> Iterator[Row]:
    """Yield the rows of a table whose first column is the layer, with the layer's place in a plan; if it is there."""
    place = {layer.name: i for i, layer in enumerate(plan.layers)}
    ids = [place.get(name) for name in atlas]
    rows = ((ids[layer_id], *others) for layer_id, *others in atlas.file.stream(table, columns))
    return (row for row in rows if row[0] is not None)


def _insert(
    connection: sqlite3.Connection, table: str, rows: Iterator[Row], otherwise: str = "IGNORE"
) -> None:
    """Insert rows; of a row that is there already, the one that is there stays, or the new one replaces it."""
    first = next(rows, None)
    if first is not None:
        statement = f"INSERT OR {otherwise} INTO {table} VALUES ({', '.join('?' * len(first))})"
        connection.executemany(statement, chain([first], rows))


def _keep_scan(connection: sqlite3.Connection, plan: Plan, atlases: Sequence[Atlas]) -> None:
    """Keep the scan of all layers, where every one of them is known."""
    known: dict[str, LayerScan] = {}
    for atlas in atlases:
        scan = kept_scan(atlas)
        known |= {} if scan is None else scan.layers
    if all(layer.name in known for layer in plan.layers):
        whole = Scan({layer.name: known[layer.name] for layer in plan.layers})
        state = plan.n_images, packed(whole.to_arrays())
        connection.execute("INSERT INTO scan_state VALUES (0, ?, ?)", state)


class _OtherRules:
    """Keeps the other rule sets: those that the first atlas has, with further feature maps, and new ones.

    Args:
        plan: What the joined atlas holds.
        first: The atlas that others are added to.
        under: Atlases of its hits by other rules.
    """

    def __init__(self, plan: Plan, first: Atlas, under: Sequence[Atlas]) -> None:
        self._place = {layer.name: i for i, layer in enumerate(plan.layers)}
        self._first, self._under = first, under
        self._rules: dict[str, RulesIdentity] = {}
        self._descriptions: dict[int, LayerDescription] = {}

    def __call__(self, connection: sqlite3.Connection) -> None:
        ids: dict[int, int] = {}
        for own in self._first.other_rules:
            self._add(own.rules, dict(zip(self._first, own.descriptions.values(), strict=True)))
            ids |= {own.keys[i]: self._key(own.rules, name) for i, name in enumerate(self._first)}
        rows = self._first.file.stream("rule_tile")
        connection.executemany(_INSERT_TILE, ((ids[key], *others) for key, *others in rows))
        for atlas in self._under:
            self._add(atlas.rules, {layer.name: layer.description for layer in atlas.layers})
            keys = [self._key(atlas.rules, name) for name in atlas]
            # Of a hit its channel, its rank and its tile; what else it has, the first atlas has too.
            hits = ((row[0], *row[1:3], *row[-3:]) for row in atlas.file.stream("hit"))
            connection.executemany(_INSERT_TILE, ((keys[i], *others) for i, *others in hits))
        names = list(self._rules)
        connection.executemany(
            "INSERT INTO rule_set VALUES (?, ?)", [(i, self._rules[n].to_json()) for i, n in enumerate(names)]
        )
        connection.executemany(
            "INSERT INTO rule_layer VALUES (?, ?, ?, ?)",
            [
                (key, *divmod(key, len(self._place)), replace(own, sources=None).to_json())
                for key, own in self._descriptions.items()
            ],
        )

    def _add(self, rules: RulesIdentity, layers: Mapping[str, LayerDescription]) -> None:
        """Add what some layers are under some rules."""
        known = self._rules.get(rules.name, rules)
        self._rules[rules.name] = replace(rules, by_layer={**known.by_layer, **rules.by_layer})
        self._descriptions |= {self._key(rules, name): own for name, own in layers.items()}

    def _key(self, rules: RulesIdentity, layer: str) -> int:
        """Return what stands for a layer under some rules."""
        return list(self._rules).index(rules.name) * len(self._place) + self._place[layer]
