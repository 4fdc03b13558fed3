"""The check of a database finds what somebody broke, and nothing in a sound one."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from intendant.errors import StoreError
from intendant.protocol.run_states import Outcome
from intendant.store.check import Finding, kept_records
from tests.helpers.stores import opened, submission


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """A database with a run in most states, one of them pruned."""
    async with opened(tmp_path) as case:
        await case.complete(await case.add(key="k1"), Outcome.SUCCEEDED)
        await case.start(await case.add(key="k2"))
        await case.add(hold=True)
        runs = [submission("a"), submission("b", after=["a"])]
        await case.store.submit(runs, account="ada")
        await case.complete(await case.add(), Outcome.FAILED)
        await case.store.prune([6], before=case.clock(), detail={})
    return case.path


def findings(path: Path) -> list[Finding]:
    with kept_records(path) as records:
        return list(records.findings())


def damage(path: Path, *statements: str) -> None:
    """Change the database as no store would: triggers and constraints out of the way."""
    connection = apsw.Connection(str(path))
    try:
        connection.pragma("ignore_check_constraints", 1)
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


EVENT = (
    "INSERT INTO event (run_id, seq, at, attempt, event, before, after, detail) "
    "VALUES ({run_id}, {seq}, 1, 1, '{event}', '{before}', '{after}', '{{}}')"
)


def test_a_sound_database_has_no_findings(database: Path) -> None:
    assert findings(database) == []
    with kept_records(database) as records:
        assert records.run_ids() == {1, 2, 3, 4, 5}
        assert [(one.run_id, one.attempt, one.is_live) for one in records.attempts()] == [
            (1, 1, False),
            (2, 1, True),
        ]


@pytest.mark.parametrize(
    ("statement", "code", "word"),
    [
        ("UPDATE run SET priority = 7 WHERE id = 3", "replay", "run 3: priority is 7"),
        ("UPDATE run SET spec = '{}' WHERE id = 1", "replay", "spec_sha256"),
        ("UPDATE event SET after = 'running' WHERE run_id = 2 AND seq = 2", "events", "run 2"),
        ("DELETE FROM event WHERE run_id = 2 AND seq = 2", "events", "run 2"),
        ("DELETE FROM event WHERE run_id = 3", "events", "run 3 has no events"),
        ("DELETE FROM event WHERE run_id = 1 AND seq = 1", "events", "expected event 1"),
        ("DELETE FROM run WHERE id = 3", "lost_run", "run 3 is gone"),
        ("DELETE FROM attempt WHERE run_id = 1", "attempts", "run 1 is at attempt 1, and has 0"),
        ("UPDATE attempt SET outcome = NULL WHERE run_id = 1", "attempts", "run 1 is ended"),
        ("UPDATE attempt SET outcome = 'failed' WHERE run_id = 2", "attempts", "run 2 is running"),
        (EVENT.format(run_id=2, seq=4, event="started", before="running", after="running"),
         "attempts", "attempt 2.1 was started 2 times"),
        (EVENT.format(run_id=1, seq=5, event="stop_requested", before="ended", after="stopping"),
         "events", "run 1"),
        ("UPDATE run SET outcome = 'failed' WHERE id = 1", "replay", "run 1: outcome is 'failed'"),
        ("UPDATE attempt SET attempt = 2 WHERE run_id = 1", "attempts", "has 1 up to 2"),
        ("UPDATE run SET open_dependencies = 0 WHERE id = 5", "dependencies", "run 5 waits for 0"),
        ("UPDATE run_count SET runs = 9 WHERE state = 'held'", "counts", "9 runs of queue default"),
        ("UPDATE account_count SET waiting = 9", "counts", "9 runs of ada wait: kept"),
        ("DROP INDEX run_key; UPDATE run SET submission_key = 'k1' WHERE id = 2",
         "keys", "'k1' of ada belongs to the runs 1, 2"),
        ("INSERT INTO dependency VALUES (1, 99)", "references", "dependency refers to no row"),
    ],
)  # fmt: skip
def test_what_was_broken_is_found(database: Path, statement: str, code: str, word: str) -> None:
    damage(database, statement)

    found = findings(database)

    assert any(one.code == code and word in one.text and one.is_fault for one in found), found


def test_a_damaged_page_is_found(database: Path) -> None:
    damage(database, "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM")
    connection = apsw.Connection(str(database))
    query = "SELECT rootpage FROM sqlite_schema WHERE name = 'run_state'"
    page = int(str(connection.execute(query).fetchall()[0][0]))
    size = int(str(connection.pragma("page_size")))
    connection.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * size + size // 2)
        file.write(b"\xff" * (size // 2))

    assert {one.code for one in findings(database)} == {"damage"}


def test_a_database_of_another_version_is_not_judged(database: Path) -> None:
    damage(database, "PRAGMA user_version = 0")

    with pytest.raises(StoreError, match="a daemon brings it up to date"):
        findings(database)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="CantOpen"):
        findings(tmp_path / "store.db")

    assert list(tmp_path.iterdir()) == []
