"""Databases of every schema so far: opened, brought up to date, nothing of them lost."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from intendant.protocol.run_states import Outcome, RunState
from intendant.store.check import kept_records
from intendant.store.database import APPLICATION_ID, migrations
from tests.helpers.stores import TOKEN, opened, submission

CONTENT = Path(__file__).parent / "databases" / "schema_1.sql"
OLD = range(1, len(migrations()))

S, E = RunState, Outcome
RUNS = {
    1: ("done", S.ENDED, E.SUCCEEDED),
    2: ("runs", S.RUNNING, None),
    3: ("starts", S.STARTING, None),
    4: ("held", S.HELD, None),
    5: ("a", S.QUEUED, None),
    6: ("b", S.QUEUED, None),
    7: ("again", S.QUEUED, None),
    8: ("stops", S.STOPPING, None),
    9: ("lost", S.ENDED, E.INTERRUPTED),
}


@pytest.fixture(params=OLD)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a database of an old schema."""
    version: int = request.param
    connection = apsw.Connection(str(tmp_path / "store.db"))
    for migration in migrations()[:version]:
        connection.execute(migration.script)
    connection.execute(CONTENT.read_text())
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", version)
    connection.close()
    return tmp_path


async def test_an_old_database_is_brought_up_to_date_with_all_that_it_held(folder: Path) -> None:
    async with opened(folder) as case:
        records, _ = await case.store.runs()
        queues = [queue.name for queue in await case.store.queues()]
        secrets = (await case.store.grant_info(2)).secrets

    assert {record.id: (record.name, record.state, record.outcome) for record in records} == RUNS
    assert queues == ["default", "gpu"]
    assert (secrets.env, secrets.environment, secrets.pickle) == (
        {"KEY": "secret"},
        "QT1CAA==",
        None,
    )
    with kept_records(case.path) as kept:
        assert [finding for finding in kept.findings() if finding.is_fault] == []


async def test_the_runs_of_an_old_database_go_on(folder: Path) -> None:
    async with opened(folder) as case:
        await case.store.want_ends(of_all=True)
        live = {each.run.id: each for each in await case.store.live()}
        assert live.keys() == {2, 3, 8}
        assert live[8].stop_outcome is E.CANCELLED
        await case.end(2, E.SUCCEEDED, exit_code=0)
        await case.store.tombstoned(3, 1, reason="test")
        await case.end(8, E.CANCELLED)
        await case.complete(5, E.SUCCEEDED)
        ready = await case.store.candidates({"default": 10})
        told = [await case.store.take_end() for _ in range(3)]
        [new_id] = await case.store.submit([submission("new", on_end=["true"])], account="ada")

    assert [candidate.run_id for candidate in ready] == [6]
    assert [record.id for record in told if record] == [2, 8, 5]
    assert new_id == 10


async def test_the_keys_of_an_old_database_stand_for_its_runs(folder: Path) -> None:
    async with opened(folder) as case:
        again = await case.store.submit([submission("done", key="k1")], account="ada")
        assert [attempt.attempt for attempt in await case.store.attempts(1)] == [1]
        assert all(len(each.token_sha256) == len(TOKEN) for each in await case.store.live())

    assert again == [1]
