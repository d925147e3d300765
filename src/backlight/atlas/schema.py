"""The atlas file: one SQLite database, its tables, and how it is opened.

Readers open it read-only. A writer commits every step; SQLite's rollback journal takes back the step that was
under way when a process was killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backlight.errors import AtlasError, StorageError

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


def connect_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection to a new or existing atlas.

    Raises:
        AtlasError: The file exists and is no atlas, or one of another format version.
        StorageError: The file cannot be created or written.
    """
    is_new = not path.exists() or path.stat().st_size == 0
    if not is_new:
        _check_header(path)
    with storage_errors(path):
        connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        if is_new:
            connection.executescript(
                f"PRAGMA page_size = 8192; BEGIN IMMEDIATE; {_TABLES}"
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT_VERSION}; COMMIT;"
            )
        connection.execute("PRAGMA synchronous = NORMAL")
    if not is_new:
        _check_version(connection, path)
    return connection


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to an atlas, usable from several threads one at a time.

    Raises:
        AtlasError: There is no such file, or it is no atlas.
    """
    if not path.is_file():
        raise AtlasError(
            f"no atlas at {str(path)!r}",
            python=f"build(net, images, {path.name!r}) makes one",
            command=f"`backlight build MODEL IMAGES -o {path.name}` makes one",
        )
    _check_header(path)
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=60, check_same_thread=False)
    _check_version(connection, path)
    return connection


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


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text:
            advice = "no space is left on the disk; free some and run the same command again, it goes on from there"
        elif "locked" in text:
            advice = "another process is writing it; wait for that one"
        elif "readonly" in text or "unable to open" in text:
            advice = "it cannot be written; check the folder and its permissions"
        else:
            advice = f"{text}; run the same command again, it goes on from the last step"
        raise StorageError(f"cannot write the atlas {str(path)!r}: {advice}") from error


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(72)
    if not header.startswith(b"SQLite format 3\0") or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise AtlasError(f"{str(path)!r} exists and is no atlas; it is left as it is, choose another name")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("SELECT 1 FROM meta LIMIT 1")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise AtlasError(f"{str(path)!r} is damaged ({error}); build it anew under another name") from error
    if version != FORMAT_VERSION:
        connection.close()
        raise AtlasError(
            f"{str(path)!r} has atlas format {version}, this Backlight reads {FORMAT_VERSION}; "
            "build it anew, or use the Backlight that wrote it"
        )
