"""Opening the database: the file, its schema, the settings of each connection.

Nothing is taken for granted: pragmas that durability rests on are read back, a file that is no
database of ours is left as it is found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import apsw

from intendant.errors import StoreError
from intendant.store.disk import DISK

APPLICATION_ID = 0x494E5444
"""`INTD`, so that file(1) and we can tell the database from others."""
STEPS_APPLICATION_ID = 0x494E5453
"""`INTS`: the steps of one pipeline."""
TRIALS_APPLICATION_ID = 0x494E5454
"""`INTT`: the trials of one study."""
BUSY_TIMEOUT_S = 5.0

LEAST_SQLITE = (3, 51, 3)
"""Before it a checkpoint could lose what was committed (sqlite.org/wal.html)."""

_MIGRATION = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
_WRITER_PRAGMAS: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a commit is on disk when it returns (sqlite.org/pragma.html)
    "foreign_keys": 1,
    "temp_store": 2,  # memory
    "journal_size_limit": 64 * 1024 * 1024,
    "wal_autocheckpoint": 1000,
    "trusted_schema": 0,
    "secure_delete": 1,
}

_NORMAL: dict[str, str | int] = {"synchronous": 1}


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema, from version `number - 1` to `number`."""

    number: int
    script: str


@dataclass(frozen=True, slots=True)
class Schema:
    """A kind of database: its mark in the file, the folder of its migrations.

    `outlives_power_cuts`: a commit is on disk when it returns. Otherwise it outlives every process,
    and a power cut may take the last ones away; the rest stays whole (sqlite.org/pragma.html).
    """

    application_id: int
    folder: str
    outlives_power_cuts: bool = True


RUNS = Schema(APPLICATION_ID, "migrations")
STEPS = Schema(STEPS_APPLICATION_ID, "step_migrations", outlives_power_cuts=False)
"""A step whose end is taken back runs again, as one that had not ended does."""
TRIALS = Schema(TRIALS_APPLICATION_ID, "trial_migrations", outlives_power_cuts=False)


def outdated_sqlite(version: str = apsw.sqlite_lib_version()) -> str | None:
    """What to say of a SQLite with known faults; a distribution's apsw brings none of its own."""
    if tuple(map(int, version.split("."))) >= LEAST_SQLITE:
        return None
    return f"found SQLite {version}, expected {'.'.join(map(str, LEAST_SQLITE))} or newer"


def store_error(path: Path, error: apsw.Error) -> StoreError:
    """What the rest of the program sees of a trouble with the database.

    The cause keeps its text and loses its traceback: apsw writes bound values into the frames.
    """
    seen = StoreError(f"{path}: {type(error).__name__}: {error}")
    seen.__cause__ = error.with_traceback(None)
    return seen


def is_full(error: StoreError) -> bool:
    """Whether the disk is full."""
    return isinstance(error.__cause__, apsw.FullError)


class database_errors:  # noqa: N801  a context like `suppress`; a generator's takes longer
    """Raise troubles with the database as `StoreError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, apsw.Error):
            raise store_error(self._path, error) from error


def prepare(path: Path, *, busy_timeout_s: float, schema: Schema = RUNS) -> apsw.Connection:
    """A connection that writes, to a database that exists and has today's schema."""
    _make_private(path)
    with _connecting(path, apsw.SQLITE_OPEN_READWRITE, busy_timeout_s) as connection:
        version = checked_version(connection, path, schema)
        _set_up(connection, path, schema)
        _migrate(connection, version, schema)
    return connection


def open_writer(path: Path, *, busy_timeout_s: float) -> apsw.Connection:
    """A connection that writes, to a database that was prepared; it is never made anew."""
    with _connecting(path, apsw.SQLITE_OPEN_READWRITE, busy_timeout_s) as connection:
        if checked_version(connection, path) != len(migrations()):
            raise StoreError(f"{path} is not the database that was opened first")
        _set_up(connection, path, RUNS)
    return connection


def open_reader(path: Path, *, busy_timeout_s: float) -> apsw.Connection:
    """A connection that reads only, and so never checkpoints."""
    with _connecting(path, apsw.SQLITE_OPEN_READONLY, busy_timeout_s) as connection:
        connection.pragma("query_only", 1)
        connection.pragma("trusted_schema", 0)
    return connection


def copy_database(source: Path, target: Path) -> None:
    """Begin a database with what stands in another, as of now (sqlite.org/backup.html)."""
    with (
        database_errors(source),
        closing(open_reader(source, busy_timeout_s=BUSY_TIMEOUT_S)) as old,
        closing(apsw.Connection(str(target))) as new,
        new.backup("main", old, "main") as backup,
    ):
        backup.step()


def close_quietly(connection: apsw.Connection) -> None:
    """Let go of a connection that is in trouble; what it says about that is no news."""
    with suppress(apsw.Error):
        connection.close(True)


def migrations(schema: Schema = RUNS) -> list[Migration]:
    """Every migration in order, from the package's files."""
    folder = files("intendant.store") / schema.folder
    scripts = {file.name: file for file in folder.iterdir() if file.name.endswith(".sql")}
    return [
        Migration(number, scripts[name].read_text(encoding="utf-8"))
        for number, name in numbered(scripts)
    ]


def numbered(names: Iterable[str]) -> list[tuple[int, str]]:
    """Migrations by number; they count from 1 without a gap, each number once."""
    found = []
    for expected, name in enumerate(sorted(names), start=1):
        match = _MIGRATION.fullmatch(name)
        if match is None or int(match[1]) != expected:
            raise StoreError(f"found the migration {name}, expected number {expected:04}")
        found.append((expected, name))
    return found


def _make_private(path: Path) -> None:
    """The file, readable by its owner alone; SQLite gives its companions the same mode."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            DISK.sync_folder(path.parent)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"{path} can't be opened: {error.strerror}") from error


@contextmanager
def _connecting(path: Path, flags: int, busy_timeout_s: float) -> Iterator[apsw.Connection]:
    """A connection to set up; it stays open only if that works."""
    with database_errors(path), ExitStack() as on_error:
        connection = apsw.Connection(str(path), flags=flags)
        on_error.callback(close_quietly, connection)
        connection.set_busy_timeout(int(busy_timeout_s * 1000))
        yield connection
        on_error.pop_all()


def checked_version(connection: apsw.Connection, path: Path, schema: Schema = RUNS) -> int:
    """The version of the schema; a foreign or a newer database is refused untouched."""
    with connection:  # as of one moment: somebody may be making it
        version: int = connection.pragma("user_version")
        application: int = connection.pragma("application_id")
        is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]
    if application != schema.application_id and not (is_empty and application == version == 0):
        raise StoreError(f"{path} is a database of another program")
    if version > (known := len(migrations(schema))):
        raise StoreError(
            f"{path} is of a newer intendant: found schema {version}, expected at most {known}"
        )
    return version


def _set_up(connection: apsw.Connection, path: Path, schema: Schema) -> None:
    pragmas = _WRITER_PRAGMAS if schema.outlives_power_cuts else _WRITER_PRAGMAS | _NORMAL
    for name, wanted in pragmas.items():
        connection.pragma(name, wanted)
        if (found := connection.pragma(name)) != wanted:
            raise StoreError(f"{path}: found {name} = {found}, expected {wanted}")


def _migrate(connection: apsw.Connection, version: int, schema: Schema) -> None:
    """Bring the schema up to date, each step a transaction of its own."""
    for migration in migrations(schema)[version:]:
        with connection:
            connection.execute(migration.script)
            connection.pragma("application_id", schema.application_id)
            connection.pragma("user_version", migration.number)
