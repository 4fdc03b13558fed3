"""The numbers of the migrations, and what an error may tell."""

from __future__ import annotations

import traceback
from pathlib import Path

import apsw
import pytest

from intendant.errors import StoreError
from intendant.store.database import database_errors, is_full, migrations, numbered, outdated_sqlite


def test_migrations_are_taken_in_order() -> None:
    assert numbered(["0002_more.sql", "0001_first.sql"]) == [
        (1, "0001_first.sql"),
        (2, "0002_more.sql"),
    ]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["0002_late.sql"], id="a gap"),
        pytest.param(["0001_a.sql", "0001_b.sql"], id="a number twice"),
        pytest.param(["1_short.sql"], id="a short number"),
        pytest.param(["0001_first.sql", "notes.sql"], id="no number"),
    ],
)
def test_migrations_that_do_not_count_are_refused(names: list[str]) -> None:
    with pytest.raises(StoreError, match="found the migration"):
        numbered(names)


def test_the_package_brings_its_migrations() -> None:
    numbers = [migration.number for migration in migrations()]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert "CREATE TABLE run" in migrations()[0].script


def test_an_error_keeps_its_cause_and_tells_no_bound_value(tmp_path: object) -> None:
    connection = apsw.Connection(":memory:")
    with pytest.raises(StoreError) as caught, database_errors(tmp_path):  # type: ignore[arg-type]
        connection.execute("INSERT INTO nowhere VALUES (?)", ("canary",))

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    cause = caught.value.__cause__
    assert isinstance(cause, apsw.SQLError)
    assert "no such table: nowhere" in str(caught.value)
    assert shown.__cause__ is not None
    assert "canary" not in "".join(shown.__cause__.format())


def test_a_sqlite_with_known_faults_is_told_at_the_start() -> None:
    assert outdated_sqlite() is None
    assert outdated_sqlite("3.51.3") is None
    assert outdated_sqlite("3.51.2") == "found SQLite 3.51.2, expected 3.51.3 or newer"


def test_a_database_that_has_no_room_left_is_told_from_other_troubles(tmp_path: Path) -> None:
    connection = apsw.Connection(":memory:")
    connection.pragma("max_page_count", 1)
    with pytest.raises(StoreError) as no_room, database_errors(tmp_path):
        connection.execute("CREATE TABLE a (b)")
    with pytest.raises(StoreError) as no_table, database_errors(tmp_path):
        connection.execute("INSERT INTO nowhere VALUES (1)")
    assert is_full(no_room.value)
    assert not is_full(no_table.value)
