"""The atlas file: one SQLite database, its tables, and how it is opened.

Readers open it read-only. One run at a time writes it, under a lock, and commits every step; SQLite's rollback journal
rolls back the step that was under way when a process was killed.

A file may come from anybody: before anything is read from it, its schema must be exactly these tables and this view, so
that no trigger or view of its own can run; and no query may take more steps than a file of its size can need.
Format 2 added checksums (`backlight.atlas.checksums`), format 3 examples of bands, whole pictures, activation maps and
the view, format 4 the filters of the maps that are shown, format 5 how many hits of each map are certain, format 6 the
projections by other rule sets; an atlas of an earlier format is read, and written, without.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path

from backlight.atlas import checksums
from backlight.atlas.damage import damaged, not_an_atlas, reading
from backlight.atlas.opening import (
    TIMEOUT_S,
    check_begun,
    open_for_reading,
    storage_errors,
)
from backlight.errors import AtlasError
from backlight.storage import check_place, locked

APPLICATION_ID = 0x424B4C54
FORMAT_VERSION = 6
_WITH_CHECKSUMS, _WITH_BANDS, _WITH_MAP_FILTERS, _WITH_CERTAINTY, _WITH_OTHER_RULES = 2, 3, 4, 5, 6
_SMALL_BYTES = 4_000_000
_STEPS_OF_A_CHECK, _STEPS_PER_BYTE = 1_000_000, 10
_LONGEST_VALUE = 2**26

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE layer (
    layer_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL);
CREATE TABLE feature_map (
    layer_id INTEGER NOT NULL REFERENCES layer, channel INTEGER NOT NULL,
    mean REAL NOT NULL, max REAL NOT NULL, n_active INTEGER NOT NULL, histogram BLOB NOT NULL,
    PRIMARY KEY (layer_id, channel)) WITHOUT ROWID;
CREATE TABLE hit (
    layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, rank INTEGER NOT NULL,
    value REAL NOT NULL, image_id INTEGER NOT NULL, row INTEGER, col INTEGER,
    patch BLOB, projection BLOB, scale REAL,
    UNIQUE (layer_id, channel, rank));
CREATE TABLE image (
    image_id INTEGER PRIMARY KEY, path TEXT NOT NULL, label TEXT, height INTEGER NOT NULL, width INTEGER NOT NULL);
CREATE TABLE skipped (image_id INTEGER PRIMARY KEY, path TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE filters (layer_id INTEGER PRIMARY KEY, weights BLOB NOT NULL);
CREATE TABLE scan_state (only INTEGER PRIMARY KEY CHECK (only = 0), n_done INTEGER NOT NULL, arrays BLOB);
"""
_STUDY_TABLES = """
CREATE TABLE evidence (layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, found TEXT NOT NULL, \
PRIMARY KEY (layer_id, channel)) WITHOUT ROWID;
CREATE TABLE study (layer_id INTEGER PRIMARY KEY, result BLOB NOT NULL);
"""
_TABLES_OF_FORMAT_3 = """
CREATE TABLE band (
    layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, bin INTEGER NOT NULL,
    value REAL NOT NULL, image_id INTEGER NOT NULL, row INTEGER, col INTEGER,
    patch BLOB, projection BLOB, scale REAL,
    UNIQUE (layer_id, channel, bin));
CREATE TABLE picture (image_id INTEGER PRIMARY KEY, picture BLOB NOT NULL);
CREATE TABLE activation (
    layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, rank INTEGER NOT NULL, codes BLOB NOT NULL,
    UNIQUE (layer_id, channel, rank));
CREATE TABLE field (
    layer_id INTEGER PRIMARY KEY,
    n_rows INTEGER NOT NULL, row_p INTEGER NOT NULL, row_q INTEGER NOT NULL, first_row INTEGER NOT NULL,
    n_cols INTEGER NOT NULL, col_p INTEGER NOT NULL, col_q INTEGER NOT NULL, first_col INTEGER NOT NULL);
CREATE INDEX hit_by_image ON hit (image_id);
"""
_TABLES_OF_FORMAT_4 = """
CREATE TABLE map_filters (layer_id INTEGER PRIMARY KEY, n_groups INTEGER NOT NULL, weights BLOB NOT NULL);
"""
# `certify_state` holds the candidates (step 0) and the answers about them while they are certified, and nothing after.
_TABLES_OF_FORMAT_5 = """
CREATE TABLE certainty (layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, n_certain INTEGER NOT NULL, \
PRIMARY KEY (layer_id, channel)) WITHOUT ROWID;
CREATE TABLE certify_state (step INTEGER PRIMARY KEY, arrays BLOB NOT NULL);
"""
# A rule set beside the one that the atlas was built with; what each layer is under it, whose key stands for both; and
# the tiles of its hits.
_TABLES_OF_FORMAT_6 = """
CREATE TABLE rule_set (rules_id INTEGER PRIMARY KEY, rules TEXT NOT NULL);
CREATE TABLE rule_layer (
    rule_layer_id INTEGER PRIMARY KEY, rules_id INTEGER NOT NULL REFERENCES rule_set,
    layer_id INTEGER NOT NULL REFERENCES layer, description TEXT NOT NULL);
CREATE TABLE rule_tile (
    rule_layer_id INTEGER NOT NULL, channel INTEGER NOT NULL, rank INTEGER NOT NULL,
    patch BLOB NOT NULL, projection BLOB NOT NULL, scale REAL NOT NULL,
    UNIQUE (rule_layer_id, channel, rank));
"""

# For people who open the file with other programs; Backlight itself never reads it, nor the table `field` that it takes
# boxes from: JSON functions are not allowed in a view where a schema is not trusted. A box is that of `Axis.span`, from
# floor(row * p / q) + first on: / of whole numbers rounds down, as none of these is negative. Units that see the whole
# image, and those without a place, have a stride of 0.
_VIEW = """
CREATE VIEW hits AS SELECT
    layer.name AS layer, hit.channel AS channel, hit.rank AS rank, hit.value AS value,
    image.path AS image, image.label AS label, hit.row AS row, hit.col AS col,
    coalesce(hit.row, 0) * row_p / row_q + first_row AS "top",
    coalesce(hit.col, 0) * col_p / col_q + first_col AS "left",
    coalesce(hit.row, 0) * row_p / row_q + first_row + n_rows AS "bottom",
    coalesce(hit.col, 0) * col_p / col_q + first_col + n_cols AS "right"
FROM hit JOIN layer ON layer.layer_id = hit.layer_id JOIN field ON field.layer_id = hit.layer_id
    JOIN image ON image.image_id = hit.image_id;
"""

_ALL_OF_FORMAT_2 = _TABLES + _STUDY_TABLES + checksums.CHECKSUM_TABLE
# The view is made first: what is made last, SQLite comes upon first, and where that is a view, its integrity check
# leaves out the pages that no table uses (3.40).
_ALL_OF_FORMAT_3 = _VIEW + _ALL_OF_FORMAT_2 + _TABLES_OF_FORMAT_3
_ALL_OF_FORMAT_4 = _ALL_OF_FORMAT_3 + _TABLES_OF_FORMAT_4
_ALL_OF_FORMAT_5 = _ALL_OF_FORMAT_4 + _TABLES_OF_FORMAT_5
_ALL = _ALL_OF_FORMAT_5 + _TABLES_OF_FORMAT_6


class _Locked(sqlite3.Connection):
    """A connection that holds the lock of its atlas until it is closed."""

    lock: ExitStack

    def close(self) -> None:
        """Close the file and let go of its lock."""
        super().close()
        self.lock.close()


def connect_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection to a new or existing atlas, which nobody else can write until it is closed.

    What a killed run left half done is rolled back first: an empty file, or one that was being created, is a new atlas.

    Raises:
        AtlasError: The file exists and is not an atlas, or is one of another format version.
        BadInputError: The path is a folder, or in no folder.
        StorageError: The file cannot be created or written, or another run is writing it.
    """
    check_place(path, "atlas")
    with ExitStack() as lock:
        lock.enter_context(locked(path))
        with storage_errors(path):
            # An absolute path is never mistaken for `:memory:` or a URI.
            connection = sqlite3.connect(
                path.absolute(), timeout=TIMEOUT_S, isolation_level=None, factory=_Locked
            )
        connection.lock = ExitStack()
        try:
            with storage_errors(path):
                _create_or_check(connection, path)
                connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        connection.lock = lock.pop_all()
    return connection


def _create_or_check(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of an empty file; refuse a file of something else."""
    connection.execute("PRAGMA page_size = 8192")  # has an effect only on a file without pages
    (n_pages,) = connection.execute(
        "PRAGMA page_count"
    ).fetchone()  # rolls back what a killed run left half done
    if not n_pages:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_ALL} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {FORMAT_VERSION}; COMMIT;"
        )
    check_kind(connection, path)
    with reading(path, "its header"):
        _check_content(connection, path)
        if has_checksums(connection):
            for kind in ("meta", "layer"):
                checksums.read_group(connection, kind, (), check=True)
            checksums.watch(connection)


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to an atlas, usable from several threads one at a time.

    Raises:
        AtlasError: There is no such file, it is not an atlas, or it cannot be read now; says which.
        DamagedAtlasError: Its tables are not those of an atlas.
    """
    connection = open_for_reading(path)
    try:
        with reading(path, "its header"):
            check_kind(connection, path)
            _check_content(connection, path)
            check_begun(connection, path)
            # No value is longer than its file, but a file may grow while it is open.
            longest = max(path.stat().st_size, _LONGEST_VALUE)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
    except BaseException:
        connection.close()
        raise
    return connection


def check_kind(connection: sqlite3.Connection, path: Path) -> None:
    """Raise AtlasError unless a database is an atlas."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise not_an_atlas(path)


def limit_steps(connection: sqlite3.Connection, n_bytes: int) -> None:
    """Limit the steps of all further queries to what a file of so many bytes can need.

    A row has at least four bytes and takes less than forty steps. Pages that point to each other can pretend to hold
    any number of rows.
    """
    checks = iter(range(1 + n_bytes * _STEPS_PER_BYTE // _STEPS_OF_A_CHECK))
    connection.set_progress_handler(lambda: next(checks, None) is None, _STEPS_OF_A_CHECK)


def has_checksums(connection: sqlite3.Connection) -> bool:
    """Return whether an atlas keeps checksums of its rows."""
    return _version(connection) >= _WITH_CHECKSUMS


def has_bands(connection: sqlite3.Connection) -> bool:
    """Return whether an atlas has tables for examples of bands, whole pictures and activation maps."""
    return _version(connection) >= _WITH_BANDS


def has_map_filters(connection: sqlite3.Connection) -> bool:
    """Return whether an atlas has a table for the filters of the maps that it shows, those of deeper layers too."""
    return _version(connection) >= _WITH_MAP_FILTERS


def has_certainty(connection: sqlite3.Connection) -> bool:
    """Return whether an atlas says of each map how many of its hits are certain."""
    return _version(connection) >= _WITH_CERTAINTY


def has_other_rules(connection: sqlite3.Connection) -> bool:
    """Return whether an atlas has tables for the projections of its hits by other rule sets."""
    return _version(connection) >= _WITH_OTHER_RULES


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """Run a step: all of it is in the file afterwards, or nothing."""
    with storage_errors(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            if has_checksums(connection):
                checksums.seal(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an atlas for one step of writing: all of it is in the file afterwards, or nothing.

    Raises:
        AtlasError: The file is not an atlas.
        StorageError: It cannot be written.
    """
    connection = connect_for_writing(path)
    try:
        with transaction(connection, path):
            yield connection
    finally:
        connection.close()


def _check_content(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file of another format or with other tables, before anything in it can run."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    version = _version(connection)
    if not 1 <= version <= FORMAT_VERSION:
        raise AtlasError(
            f"{str(path)!r} has atlas format {version}, this Backlight reads 1 to {FORMAT_VERSION}; "
            "build it again, or use the Backlight that wrote it"
        )
    if _schema(connection) not in _schemas(version):
        raise damaged(path, "its schema", "its tables are not those that Backlight makes")
    if path.stat().st_size <= _SMALL_BYTES:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damaged(path, "its pages", ValueError(found))


def _schema(connection: sqlite3.Connection) -> frozenset[tuple[str, ...]]:
    """Return what a file's schema has, its SQL without regard to line breaks."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100").fetchall()
    return frozenset((kind, name, table, " ".join((sql or "").split())) for kind, name, table, sql in rows)


@lru_cache
def _schemas(version: int) -> tuple[frozenset[tuple[str, ...]], ...]:
    """Return the schemas that an atlas of a format may have."""
    if version < _WITH_CHECKSUMS:  # its tables for studies were made with the first study
        wanted = [_TABLES, _TABLES + _STUDY_TABLES]
    else:
        earlier = {2: _ALL_OF_FORMAT_2, 3: _ALL_OF_FORMAT_3, 4: _ALL_OF_FORMAT_4, 5: _ALL_OF_FORMAT_5}
        wanted = [earlier.get(version, _ALL)]
    found = []
    for tables in wanted:
        connection = sqlite3.connect(":memory:")
        connection.executescript(tables)
        found.append(_schema(connection))
        connection.close()
    return tuple(found)
