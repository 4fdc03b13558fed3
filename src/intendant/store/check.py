"""The database against its own rules: what must hold at any time, read from the file alone.

The file is opened for reading only, and every rule is looked at anew; nothing is trusted because
a trigger or a constraint should have seen to it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from intendant.errors import IllegalTransition, StoreError
from intendant.protocol.run_states import LIVE, Outcome, RunEvent, RunNote, RunState
from intendant.store.cells import Execute
from intendant.store.database import (
    BUSY_TIMEOUT_S,
    checked_version,
    close_quietly,
    database_errors,
    migrations,
    open_reader,
)
from intendant.store.queries import last_run_id
from intendant.store.rows import SELECT_EVENT, SELECT_RUN, event_record, replay, replayable

COLUMNS = [name.strip() for name in SELECT_RUN.removeprefix("SELECT").split("FROM")[0].split(",")]


DAMAGE = "damage"
"""The code of a finding after which nothing else that is read can be relied on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be; a note, unlike a fault, mends itself."""

    code: str
    text: str
    run_id: int | None = None
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class KeptAttempt:
    """What the database says of an attempt, to be compared with spool and processes."""

    run_id: int
    attempt: int
    token_sha256: str
    state: RunState
    newest: int
    """The number of the run's newest attempt."""
    outcome: Outcome | None
    reason: str
    exit_code: int | None
    signal: int | None
    has_started: bool
    stop_outcome: Outcome | None
    """What the run is to end as, if somebody wants its end."""

    @property
    def is_live(self) -> bool:
        """Whether the attempt is not over, as far as the database knows."""
        return self.outcome is None

    @property
    def name(self) -> str:
        """As people call it."""
        return f"attempt {self.run_id}.{self.attempt}"

    @property
    def is_in(self) -> str:
        """Where its run is, in words."""
        return f"run {self.run_id} is {self.state}"


class KeptRecords:
    """A database that nobody writes to, opened to be looked at."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong in the database itself; where it is damaged, that alone."""
        damage = list(_damage(self._execute))
        yield from damage
        for rule in () if damage else RULES:
            yield from rule(self._execute)

    def run_ids(self) -> set[int]:
        """Every run."""
        return {run_id for (run_id,) in self._execute("SELECT id FROM run")}

    def last_run_id(self) -> int:
        """The highest id that a run ever had."""
        return last_run_id(self._execute)

    def attempts(self) -> Iterator[KeptAttempt]:
        """Every attempt, by run and number."""
        rows = self._execute(
            "SELECT run_id, attempt.attempt, token_sha256, state, run.attempt, attempt.outcome, "
            "coalesce(attempt.reason, ''), attempt.exit_code, attempt.signal, "
            "attempt.started_at IS NOT NULL, stop_outcome "
            "FROM attempt JOIN run ON run.id = run_id ORDER BY run_id, attempt.attempt"
        )
        for run_id, attempt, token, state, newest, outcome, *rest in rows:
            reason, exit_code, signal, has_started, stop_outcome = rest
            yield KeptAttempt(
                run_id=run_id,
                attempt=attempt,
                token_sha256=token,
                state=RunState(state),
                newest=newest,
                outcome=None if outcome is None else Outcome(outcome),
                reason=reason,
                exit_code=exit_code,
                signal=signal,
                has_started=bool(has_started),
                stop_outcome=None if stop_outcome is None else Outcome(stop_outcome),
            )


@contextmanager
def kept_records(path: Path) -> Iterator[KeptRecords]:
    """The database in `path`; `StoreError` if it is not ours, or can't be read at all."""
    with database_errors(path):
        connection = open_reader(path, busy_timeout_s=BUSY_TIMEOUT_S)
        try:
            version, known = checked_version(connection, path), len(migrations())
            if version != known:
                raise StoreError(
                    f"{path}: found schema {version}, expected {known}; a daemon brings it up "
                    "to date when it starts"
                )
            connection.execute("BEGIN")
            yield KeptRecords(connection.execute)
        finally:
            close_quietly(connection)


def _damage(execute: Execute) -> Iterator[Finding]:
    try:
        for (text,) in execute("PRAGMA integrity_check"):
            if text != "ok":
                yield Finding(DAMAGE, f"the database is damaged: {text}")
    except (apsw.CorruptError, apsw.NotADBError) as error:
        yield Finding(DAMAGE, f"the database is damaged: {error}")


def _references_are_sound(execute: Execute) -> Iterator[Finding]:
    for table, row, parent, _ in execute("PRAGMA foreign_key_check"):
        yield Finding("references", f"row {row} of {table} refers to no row of {parent}")


def _events_are_whole(execute: Execute) -> Iterator[Finding]:
    [(low, high, count)] = execute("SELECT min(id), max(id), count(*) FROM event").fetchall()
    if count and high - low + 1 != count:
        yield Finding("events", f"found {count} events with ids from {low} to {high}")


def _events_give_rows(execute: Execute) -> Iterator[Finding]:
    """Replaying gives each row; what is no row any more was pruned, and said to be."""
    runs = iter(execute(f"{SELECT_RUN} ORDER BY id"))
    events = iter(execute(f"{SELECT_EVENT} ORDER BY run_id, seq"))
    logs = itertools.groupby(events, key=lambda event: int(event[1]))
    columns = next(runs, None)
    for run_id, log in logs:
        while columns is not None and columns[0] < run_id:
            yield Finding("events", f"run {columns[0]} has no events", columns[0])
            columns = next(runs, None)
        if columns is not None and columns[0] == run_id:
            yield from _replays(run_id, log, dict(zip(COLUMNS, columns, strict=True)))
            columns = next(runs, None)
        elif [event[5] for event in log][-1] != RunNote.PRUNED:
            yield Finding("lost_run", f"run {run_id} is gone, and was not pruned", run_id)
    while columns is not None:
        yield Finding("events", f"run {columns[0]} has no events", columns[0])
        columns = next(runs, None)


def _replays(run_id: int, log: Iterator[Any], columns: dict[str, Any]) -> Iterator[Finding]:
    try:
        replayed = replay(map(event_record, log))
    except (StoreError, IllegalTransition, ValueError) as error:
        yield Finding("events", f"the events of run {run_id} make no sense: {error}", run_id)
        return
    row = replayable(columns)
    for name in sorted(row):
        if replayed.get(name) != row[name]:
            text = f"run {run_id}: {name} is {row[name]!r}, its events say {replayed.get(name)!r}"
            yield Finding("replay", text, run_id)


def _attempts_are_in_order(execute: Execute) -> Iterator[Finding]:
    rows = execute(
        "SELECT id, state, run.attempt, count(attempt.attempt), coalesce(max(attempt.attempt), 0), "
        "count(*) FILTER (WHERE attempt.attempt IS NOT NULL AND attempt.outcome IS NULL), "
        "coalesce(max(attempt.attempt) FILTER (WHERE attempt.outcome IS NULL), 0) "
        "FROM run LEFT JOIN attempt ON run_id = id GROUP BY id ORDER BY id"
    )
    for run_id, state, newest, count, highest, still_open, open_one in rows:
        if not newest == count == highest:
            text = f"run {run_id} is at attempt {newest}, and has {count} up to {highest}"
            yield Finding("attempts", text, run_id)
        is_live = RunState(state) in LIVE
        if still_open != is_live or (is_live and open_one != newest):
            text = f"run {run_id} is {state}, and {still_open} of its attempts are not over"
            yield Finding("attempts", text, run_id)


def _attempts_start_once(execute: Execute) -> Iterator[Finding]:
    rows = execute(
        "SELECT run_id, attempt, count(*) FROM event WHERE event = ? "
        "GROUP BY run_id, attempt HAVING count(*) > 1 ORDER BY run_id, attempt",
        (RunEvent.STARTED,),
    )
    for run_id, attempt, times in rows:
        yield Finding("attempts", f"attempt {run_id}.{attempt} was started {times} times", run_id)


def _dependencies_are_counted(execute: Execute) -> Iterator[Finding]:
    rows = execute(
        "SELECT id, open_dependencies, (SELECT count(*) FROM dependency JOIN run AS parent "
        "ON parent.id = on_run_id WHERE run_id = run.id AND parent.state <> 'ended') AS counted "
        "FROM run WHERE state <> 'ended' AND open_dependencies <> counted"
    )
    for run_id, kept, counted in rows:
        text = f"run {run_id} waits for {kept} runs, its dependencies say {counted}"
        yield Finding("dependencies", text, run_id)


def _counts_are_true(execute: Execute) -> Iterator[Finding]:
    kept = set(execute("SELECT queue, state, runs FROM run_count WHERE runs > 0"))
    counted = set(execute("SELECT queue, state, count(*) FROM run GROUP BY queue, state"))
    for queue, state, runs in sorted(kept ^ counted):
        whose = "kept" if (queue, state, runs) in kept else "counted"
        yield Finding("counts", f"{runs} runs of queue {queue} {state}: {whose} alone")


def _waiting_is_counted(execute: Execute) -> Iterator[Finding]:
    kept = set(execute("SELECT account, waiting FROM account_count WHERE waiting > 0"))
    counted = set(
        execute(
            "SELECT account, count(*) FROM run NOT INDEXED WHERE state IN ('held', 'queued') "
            "GROUP BY account"
        )
    )
    for account, runs in sorted(kept ^ counted):
        whose = "kept" if (account, runs) in kept else "counted"
        yield Finding("counts", f"{runs} runs of {account} wait: {whose} alone")


def _keys_are_unique(execute: Execute) -> Iterator[Finding]:
    rows = execute(
        "SELECT account, submission_key, json_group_array(id) FROM run NOT INDEXED "
        "WHERE submission_key IS NOT NULL GROUP BY account, submission_key HAVING count(*) > 1"
    )
    for account, key, ids in rows:
        runs = ", ".join(map(str, json.loads(ids)))
        yield Finding("keys", f"the key {key!r} of {account} belongs to the runs {runs}")


RULES: tuple[Callable[[Execute], Iterator[Finding]], ...] = (
    _references_are_sound,
    _events_are_whole,
    _events_give_rows,
    _attempts_are_in_order,
    _attempts_start_once,
    _dependencies_are_counted,
    _counts_are_true,
    _waiting_is_counted,
    _keys_are_unique,
)
