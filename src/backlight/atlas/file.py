"""The open file of an atlas: rows by group, compared with their checksums, one reader thread at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

from backlight.atlas import checks
from backlight.atlas.checksums import RowGroup, groups, place, read_group
from backlight.atlas.damage import reading
from backlight.atlas.opening import RESUME
from backlight.atlas.schema import (
    connect_for_reading,
    has_bands,
    has_certainty,
    has_checksums,
    has_map_filters,
    has_other_rules,
    limit_steps,
)
from backlight.engines.identity import AtlasIdentity
from backlight.errors import AtlasError
from backlight.text import visible

PHASES = ("scan", "certify", "project", "band", "light", "done")


class AtlasFile:
    """An atlas's database, opened read-only.

    Args:
        path: The file.

    Attributes:
        path: The file.
        has_checksums: Whether its rows have checksums (since format 2).
        has_bands: Whether it has tables for examples of bands, whole images and activations (since format 3).
        has_map_filters: Whether it has a table for the filters of the maps that it shows (since format 4).
        has_certainty: Whether it says how many hits of a map are certain (since format 5).
        has_other_rules: Whether it has tables for projections by other rule sets (since format 6).

    Raises:
        AtlasError: There is no such file, or it is not an atlas.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock, self._n_bytes = path, RLock(), 0
        self.connection = connect_for_reading(path)
        try:
            with reading(path, "its header"):
                self.has_checksums = has_checksums(self.connection)
                self.has_bands = has_bands(self.connection)
                self.has_map_filters = has_map_filters(self.connection)
                self.has_certainty = has_certainty(self.connection)
                self.has_other_rules = has_other_rules(self.connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def meta(self, key: str) -> Any:
        """Return a value of the table `meta`.

        Raises:
            AtlasError: It is not there: the build has only just begun.
        """
        (rows,) = self.group("meta")
        for name, value in rows:
            if name == key:
                return value
        raise AtlasError(f"{str(self.path)!r} holds nothing yet", **RESUME)

    def identity(self) -> AtlasIdentity:
        """Return what the atlas is of.

        Raises:
            AtlasError: The build has only just begun, or the file is damaged.
        """
        text = self.meta("identity")
        with reading(self.path, f"{place('meta')} (identity)"):
            return checks.identity(text)

    @property
    def phase(self) -> str:
        """`scan`, `certify`, `project`, `band` or `light` while the atlas is unfinished, then `done`."""
        text = self.meta("phase")
        with reading(self.path, f"{place('meta')} (phase)"):
            return checks.one_of(json.loads(text), "phase", PHASES)

    @property
    def format_version(self) -> int:
        """Which format the file has, from 1 (`backlight.atlas.schema`)."""
        ((version,),) = self.rows("its header", "PRAGMA user_version")
        return int(version)

    def has_all(self, part: str) -> bool:
        """Return whether a finished build has made a part: `bands`, the projections of examples, or `wholes`."""
        if not self.has_bands or self.phase != "done":
            return False
        text = self.meta(part)
        with reading(self.path, f"{place('meta')} ({part})"):
            return checks.flag(json.loads(text), part)

    @cached_property
    def has_studies(self) -> bool:
        """Whether the file has the tables for evidence."""
        return bool(self.rows("its schema", "SELECT 1 FROM sqlite_master WHERE name = 'study'"))

    def integrity(self) -> list[str]:
        """Return what SQLite finds wrong with the pages of the file, at most twenty lines; this reads all of it."""
        with self._lock, reading(self.path, "its pages"):
            self.connection.set_progress_handler(None, 0)
            rows = self.connection.execute("PRAGMA integrity_check(20)").fetchall()
            return [visible(str(text)) for (text,) in rows if text != "ok"]

    def group(self, kind: str, *keys: int) -> RowGroup:
        """Return the rows of a group (`backlight.atlas.checksums`), compared with their checksum.

        Raises:
            DamagedAtlasError: They cannot be read, or are not what was written.
        """
        with self._lock, reading(self.path, place(kind, keys)):
            self._limit()
            # One transaction: a build may write between the rows and their checksum.
            self.connection.execute("BEGIN")
            try:
                return read_group(self.connection, kind, keys, self.has_checksums)
            finally:
                self.connection.execute("ROLLBACK")

    def groups(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return the kinds and keys of all groups of rows; none in an atlas without checksums."""
        with self._lock, reading(self.path, "its checksums"):
            self._limit()
            return list(groups(self.connection)) if self.has_checksums else []

    def stream(self, table: str, columns: str = "*") -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table, none where a file of its format has no such table; not compared with checksums."""
        with self._lock, reading(self.path, f"table {table}"):
            self._limit()
            names = {name for (name,) in self.connection.execute("SELECT name FROM sqlite_master")}
            found = self.connection.execute(f"SELECT {columns} FROM {table}") if table in names else iter(())
        while True:
            with self._lock, reading(self.path, f"table {table}"):
                row = next(found, None)
            if row is None:
                return
            yield row

    def rows(self, where: str, query: str) -> list[Any]:
        """Return the rows of a query, which are not compared with any checksum; `where` says in words what is read."""
        with self._lock, reading(self.path, where):
            self._limit()
            return self.connection.execute(query).fetchall()

    def _limit(self) -> None:
        """Bound the steps of the next queries by the size of the file, which may grow while a build writes it."""
        with suppress(OSError):  # moved meanwhile: it is open all the same
            self._n_bytes = self.path.stat().st_size
        limit_steps(self.connection, self._n_bytes)
