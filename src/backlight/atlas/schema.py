"""The atlas file: one SQLite database, its tables, and how it is opened.

Readers open it read-only. One run at a time writes it, under a lock, and commits every step; SQLite's rollback journal
takes back the step that was under way when a process was killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from backlight.atlas.opening import (
    TIMEOUT_S,
    check_begun,
    not_an_atlas,
    open_for_reading,
    reading_errors,
    storage_errors,
)
from backlight.errors import AtlasError
from backlight.storage import check_place, locked

APPLICATION_ID = 0x424B4C54
FORMAT_VERSION = 1

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


class _Locked(sqlite3.Connection):
    """A connection that holds the lock of its atlas until it is closed."""

    lock: ExitStack

    def close(self) -> None:
        """Close the file and let go of its lock."""
        super().close()
        self.lock.close()


def connect_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection to a new or existing atlas, which nobody else can write until it is closed.

    What a killed run has left is taken back first: an empty file, or one that was being created, is a new atlas.

    Raises:
        AtlasError: The file exists and is no atlas, or one of another format version.
        BadInputError: The path is a folder, or in no folder.
        StorageError: The file cannot be created or written, or another run is writing it.
    """
    check_place(path, "atlas")
    with ExitStack() as lock:
        lock.enter_context(locked(path))
        with storage_errors(path):
            # An absolute path is never taken for `:memory:` or a URI.
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
    connection.execute("PRAGMA page_size = 8192")  # only counts for a file without a page
    (n_pages,) = connection.execute("PRAGMA page_count").fetchone()  # rolls back what a killed run has left
    if not n_pages:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {FORMAT_VERSION}; COMMIT;"
        )
    check_kind(connection, path)
    _check_version(connection, path)


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to an atlas, usable from several threads one at a time.

    Raises:
        AtlasError: There is no such file, it is no atlas, or it cannot be read now; says which.
    """
    connection = open_for_reading(path)
    try:
        with reading_errors(path):
            check_kind(connection, path)
            _check_version(connection, path)
            check_begun(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check_kind(connection: sqlite3.Connection, path: Path) -> None:
    """Raise AtlasError unless a database is an atlas."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise not_an_atlas(path)


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """Run a step: all of it is in the file afterwards, or nothing."""
    with storage_errors(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an atlas for one step of writing: all of it is in the file afterwards, or nothing.

    Raises:
        AtlasError: The file is no atlas.
        StorageError: It cannot be written.
    """
    connection = connect_for_writing(path)
    try:
        with transaction(connection, path):
            yield connection
    finally:
        connection.close()


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != FORMAT_VERSION:
        raise AtlasError(
            f"{str(path)!r} has atlas format {version}, this Backlight reads {FORMAT_VERSION}; "
            "build it anew, or use the Backlight that wrote it"
        )
    connection.execute("SELECT 1 FROM meta LIMIT 1")
