"""Which files are opened as a store, how, and which are left as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import apsw
import pytest

from intendant.errors import FolderLocked, StoreError
from intendant.store.database import (
    APPLICATION_ID,
    TRIALS,
    checked_version,
    migrations,
    open_reader,
    prepare,
)
from intendant.store.lock import LOCK_NAME, lock_folder
from tests.helpers.stores import opened


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@contextmanager
def writer_of(path: Path) -> Iterator[apsw.Connection]:
    connection = prepare(path, busy_timeout_s=1)
    try:
        yield connection
    finally:
        connection.close()


def change(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


def test_a_commit_is_on_disk_when_it_returns(path: Path) -> None:
    with writer_of(path) as connection:
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2
        assert connection.pragma("foreign_keys") == 1
        assert connection.pragma("secure_delete") == 1


def test_the_schema_says_whose_it_is_and_how_old(path: Path) -> None:
    with writer_of(path) as connection:
        assert connection.pragma("application_id") == APPLICATION_ID
        assert connection.pragma("user_version") == len(migrations())
        tables = connection.execute("PRAGMA table_list").fetchall()
        assert all(strict for _, name, kind, _, _, strict in tables
                   if kind == "table" and not str(name).startswith("sqlite_"))  # fmt: skip


async def test_a_store_is_its_owners_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        async with opened(tmp_path) as case:
            await case.add()

            modes = {entry.name: entry.stat().st_mode & 0o777 for entry in os.scandir(tmp_path)}
    finally:
        os.umask(umask)

    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_a_database_is_opened_again_as_it_was(path: Path) -> None:
    with writer_of(path) as connection:
        connection.execute("INSERT INTO queue (name) VALUES ('gpu')")

    with writer_of(path) as connection:
        names = connection.execute("SELECT name FROM queue ORDER BY name").fetchall()
        assert names == [("default",), ("gpu",)]


def test_the_reader_can_not_write(path: Path) -> None:
    with writer_of(path):
        reader = open_reader(path, busy_timeout_s=1)
        with pytest.raises(apsw.ReadOnlyError):
            reader.execute("DELETE FROM queue")
        reader.close()


def test_a_database_of_a_newer_version_is_left_as_it_is(path: Path) -> None:
    with writer_of(path):
        pass
    change(path, "PRAGMA user_version = 99")
    before = path.read_bytes()

    known = len(migrations())
    with pytest.raises(StoreError, match=f"newer .* found schema 99, expected at most {known}"):
        prepare(path, busy_timeout_s=1)

    assert path.read_bytes() == before


def test_a_database_of_another_program_is_left_as_it_is(path: Path) -> None:
    change(path, "CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="another program"):
        prepare(path, busy_timeout_s=1)

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_as_it_is(path: Path) -> None:
    garbage = b"# notes\n" * 1000
    path.write_bytes(garbage)

    with pytest.raises(StoreError, match="NotADBError"):
        prepare(path, busy_timeout_s=1)

    assert path.read_bytes() == garbage


def test_a_damaged_database_is_refused(path: Path) -> None:
    with writer_of(path):
        pass
    content = bytearray(path.read_bytes())
    content[100:2000] = b"\xff" * 1900  # the schema's own page
    path.write_bytes(content)

    with pytest.raises(StoreError, match="CorruptError"):
        prepare(path, busy_timeout_s=1)


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        prepare(tmp_path / "nowhere" / "store.db", busy_timeout_s=1)
    with pytest.raises(StoreError, match="can't be opened"):
        prepare(tmp_path, busy_timeout_s=1)


def run_of(connection: apsw.Connection, **columns: str | int) -> None:
    """A run as the schema takes it, but for some columns."""
    row = {
        "account": "ada",
        "kind": "command",
        "queue": "default",
        "priority": 0,
        "state": "queued",
        "submitted_at": 0,
        "spec": "{}",
    } | columns
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO run ({', '.join(row)}) VALUES ({marks})", (*row.values(),))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"state": "ended"}, id="an end without an outcome"),
        pytest.param({"outcome": "failed", "finished_at": 1}, id="an outcome before the end"),
        pytest.param({"state": "stopping"}, id="a stop that nobody asked for"),
        pytest.param({"queue": "gpu"}, id="a queue that is none"),
        pytest.param({"priority": "high"}, id="text for a number"),
    ],
)
def test_the_schema_itself_refuses_nonsense(path: Path, wrong: dict[str, str]) -> None:
    with writer_of(path) as connection:
        run_of(connection)
        with pytest.raises(apsw.ConstraintError):
            run_of(connection, **wrong)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE run SET priority = 1 WHERE id = 1",
        "UPDATE run SET spec = '[]' WHERE id = 2",
        "UPDATE event SET event = 'other'",
    ],
)
def test_the_schema_itself_keeps_what_is_final(path: Path, statement: str) -> None:
    with writer_of(path) as connection:
        run_of(connection, state="ended", outcome="failed", finished_at=1)
        run_of(connection)
        connection.execute(
            "INSERT INTO event (run_id, seq, at, attempt, event, after, detail) "
            "VALUES (1, 1, 1, 0, 'submitted', 'queued', '{}')"
        )

        with pytest.raises(apsw.ConstraintError, match="never changes"):
            connection.execute(statement)


def test_counts_stay_right_when_runs_are_deleted(path: Path) -> None:
    with writer_of(path) as connection:
        run_of(connection)
        run_of(connection)

        connection.execute("DELETE FROM run WHERE id = 1")
        run_of(connection)

        assert connection.execute("SELECT state, runs FROM run_count").fetchall() == [("queued", 2)]
        assert connection.execute("SELECT id FROM run").fetchall() == [(2,), (3,)]


# --- the folder's lock ---------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from intendant.store.lock import lock_folder

with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_daemon_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path) as lock,
        pytest.raises(FolderLocked, match=f"is in use by a daemon with pid {os.getpid()}$"),
    ):
        lock_folder(tmp_path)

    assert lock.path == tmp_path / LOCK_NAME
    assert lock.path.stat().st_mode & 0o777 == 0o600


def test_a_lock_that_was_released_can_be_taken(tmp_path: Path) -> None:
    first = lock_folder(tmp_path)
    first.release()
    first.release()

    lock_folder(tmp_path).release()


def test_a_killed_daemon_leaves_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(FolderLocked, match=f"pid {holder.pid}$"):
            lock_folder(tmp_path)
        holder.kill()

    lock_folder(tmp_path).release()


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "print('here', flush=True); input()"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 close_fds=False)  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"  # it has executed its program by then
        lock_folder(tmp_path).release()
        child.kill()


def test_a_folder_that_is_not_there_can_not_be_locked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be opened"):
        lock_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("moment", range(1, 6))
def test_a_database_that_is_being_made_is_empty_or_ours_for_whoever_looks(
    tmp_path: Path, moment: int
) -> None:
    path = tmp_path / "study.db"
    with closing(apsw.Connection(str(path))) as maker, closing(apsw.Connection(str(path))) as other:
        maker.pragma("journal_mode", "wal")
        looked = count(1)

        def make_it_meanwhile(*_: object) -> bool:
            if next(looked) == moment:
                prepare(path, busy_timeout_s=5, schema=TRIALS).close()
            return True

        other.set_exec_trace(make_it_meanwhile)
        seen = checked_version(other, path, TRIALS)
        other.set_exec_trace(None)

        assert seen in (0, len(migrations(TRIALS)))
        assert next(looked) > moment
        assert checked_version(other, path, TRIALS) == len(migrations(TRIALS))
