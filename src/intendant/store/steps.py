"""The steps of one pipeline run: a database of its own in the run's folder.

Written by the run's own process alone, row by row as things happen, so that steps go on while the
daemon is down; read by whoever likes. A change of a row and its event are one transaction. All
attempts of a run share the file, and a run that continues another begins with a copy of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import apsw
from pydantic_core import to_json

from intendant.protocol.step_records import StepEventInfo, StepInfo, StepReport
from intendant.protocol.step_states import StepEvent, StepOutcome, StepState, step_after
from intendant.store.cells import Cell, Rows, micros, moment, optional_moment
from intendant.store.database import (
    BUSY_TIMEOUT_S,
    STEPS,
    checked_version,
    close_quietly,
    copy_database,
    database_errors,
    open_reader,
    prepare,
)

STEPS_FILE = "steps.db"
STEPS_FOLDER = "steps"
CHANGES_FILE = "steps.changed"
"""Written to after each commit. Of the database's own files none would do: a commit is seen only
after the write-ahead log has been flushed, which no file shows (sqlite.org/walformat.html).
"""

_COLUMNS = (
    "name, state, outcome, reason, attempt, fingerprint, started_at, finished_at, exit_code, "
    "signal, folder, run_id, report"
)


PAGE = 200
MAX_SHOWN_BYTES = 8192
"""So that a page fits into a frame."""


def step_folder(run_folder: Path, step: str, attempt: int) -> Path:
    """Where an attempt at a step leaves its files."""
    return run_folder / STEPS_FOLDER / step / str(attempt)


@dataclass(frozen=True, slots=True)
class StepPage:
    """Some steps, and how many there are."""

    steps: list[StepInfo]
    total: int


class StepChange(NamedTuple):
    """Something that happens to a step, and the columns that it sets."""

    step: str
    event: StepEvent
    at: datetime
    columns: Mapping[str, Cell]


def started(step: str, *, attempt: int, folder: str, at: datetime) -> StepChange:
    """An attempt begins; what the one before left in the row goes."""
    columns: dict[str, Cell] = dict.fromkeys(
        ("outcome", "reason", "finished_at", "exit_code", "signal", "run_id", "report")
    )
    columns |= {"attempt": attempt, "folder": folder, "started_at": micros(at)}
    return StepChange(step, StepEvent.STARTED, at, columns)


def ended(
    step: str,
    outcome: StepOutcome,
    reason: str | None,
    *,
    at: datetime,
    report: StepReport | None = None,
    is_retried: bool = False,
) -> StepChange:
    """An attempt, or a step that never began, is over; `is_retried`: another attempt follows."""
    columns: dict[str, Cell] = {"outcome": outcome, "reason": reason, "finished_at": micros(at)}
    if report is not None:
        columns |= {
            "exit_code": report.exit_code,
            "signal": report.signal,
            "report": report.model_dump_json(exclude_defaults=True),
        }
    event = StepEvent.RETRIED if is_retried else StepEvent.ENDED
    return StepChange(step, event, at, columns)


def reset(step: str, *, at: datetime, attempt: int) -> StepChange:
    """The step is to run again; `attempt` is its last one that counts."""
    columns: dict[str, Cell] = {"outcome": None, "reason": None, "attempt": attempt}
    return StepChange(step, StepEvent.RESET, at, columns)


class StepStore:
    """The database of one pipeline, for the process that carries it out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = prepare(path, busy_timeout_s=BUSY_TIMEOUT_S, schema=STEPS)
        self._changes = path.with_name(CHANGES_FILE).open("wb", buffering=0)
        with database_errors(path):
            rows: Rows = self._connection.execute("SELECT name, state, attempt FROM step")
            self._now: dict[str, tuple[StepState, int]] = {
                name: (StepState(state), attempt) for name, state, attempt in rows
            }

    def __enter__(self) -> StepStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        close_quietly(self._connection)
        self._changes.close()

    def lay_out(self, fingerprints: Mapping[str, str]) -> None:
        """Let there be exactly these steps, in this order; those that are known stay as they are.

        A step that is no longer part of the pipeline goes, and its events with it.
        """
        with self._transaction():
            for name in self._now.keys() - fingerprints.keys():
                self._connection.execute("DELETE FROM step_event WHERE step = ?", (name,))
                self._connection.execute("DELETE FROM step WHERE name = ?", (name,))
            self._connection.executemany(
                "INSERT INTO step (name, position, state, fingerprint) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET position = excluded.position, "
                "fingerprint = excluded.fingerprint",
                [
                    (name, position, StepState.PENDING, fingerprint)
                    for position, (name, fingerprint) in enumerate(fingerprints.items())
                ],
            )
        fresh = (StepState.PENDING, 0)
        self._now = {name: self._now.get(name, fresh) for name in fingerprints}

    def write(self, changes: Sequence[StepChange]) -> None:
        """Make these changes, all or none; they are on disk when this returns."""
        if not changes:
            return
        now = dict[str, tuple[StepState, int]]()
        with self._transaction():
            for change in changes:
                state, attempt = now.get(change.step) or self._now[change.step]
                number = change.columns.get("attempt", attempt)
                attempt = number if isinstance(number, int) else attempt
                now[change.step] = (step_after(state, change.event), attempt)
                self._write(change, *now[change.step])
        self._now.update(now)

    def note_run(self, step: str, run_id: int) -> None:
        """Which run carries the step out."""
        with self._transaction():
            self._connection.execute("UPDATE step SET run_id = ? WHERE name = ?", (run_id, step))

    def tell_readers(self) -> None:
        """Let those who watch the run's folder know that there is something new."""
        with suppress(OSError):  # only a hint: the disk may be full
            os.pwrite(self._changes.fileno(), b".", 0)

    def steps(self) -> list[StepInfo]:
        """Every step as it is now, in order."""
        with database_errors(self.path):
            return _steps(self._connection)

    def begun_steps(self) -> list[StepInfo]:
        """Those of them to which something has happened."""
        with database_errors(self.path):
            return _steps(self._connection, "WHERE attempt > 0 OR outcome IS NOT NULL")

    def _write(self, change: StepChange, state: StepState, attempt: int) -> None:
        self._connection.execute(
            _update_of(tuple(change.columns)), (state, *change.columns.values(), change.step)
        )
        detail = {
            name: value
            for name, value in change.columns.items()
            if value is not None and name != "report"
        }
        self._connection.execute(
            "INSERT INTO step_event (at, step, attempt, event, detail) VALUES (?, ?, ?, ?, ?)",
            (micros(change.at), change.step, attempt, change.event, to_json(detail).decode()),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with database_errors(self.path), self._connection:
            yield
        self.tell_readers()


@cache
def _update_of(columns: tuple[str, ...]) -> str:
    """The statement that sets a step's state and these columns, in this order."""
    assignments = ", ".join(f"{name} = ?" for name in ("state", *columns))
    return f"UPDATE step SET {assignments} WHERE name = ?"  # noqa: S608  our own columns


def read_steps(path: Path) -> list[StepInfo]:
    """The steps in a pipeline's database, whoever writes it meanwhile; none if there is no file."""
    with _reading(path) as connection:
        return _steps(connection) if connection else []


def read_step_page(path: Path, *, offset: int) -> StepPage:
    """Some of the steps from `offset` on, and how many there are in all.

    What a step had for parameters is left out where it is large: its report has it.
    """
    with _reading(path) as connection:
        if connection is None:
            return StepPage([], 0)
        [(total,)] = cast(Rows, connection.execute("SELECT count(*) FROM step"))
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM step ORDER BY position LIMIT ? OFFSET ?",  # noqa: S608
            (PAGE, offset),
        )
        return StepPage([_without_bulk(_step_info(row)) for row in rows], total)


def read_step(path: Path, name: str) -> StepInfo | None:
    """One step; None if there is no such step."""
    with _reading(path) as connection:
        if connection is None:
            return None
        found = connection.execute(
            f"SELECT {_COLUMNS} FROM step WHERE name = ?",  # noqa: S608  our own columns
            (name,),
        ).fetchall()
    return _step_info(found[0]) if found else None


def read_changed_steps(path: Path, *, after_id: int) -> tuple[list[StepInfo], int]:
    """The steps to which something has happened after this event, and the last event so far.

    After event 0: every step. What a step has left is not told.
    """
    named = "name IN (SELECT step FROM step_event WHERE id > ?)" if after_id else "? = 0"
    with _reading(path) as connection:
        if connection is None:
            return [], after_id
        last: Rows = connection.execute("SELECT coalesce(max(id), 0) FROM step_event")
        [(last_id,)] = last
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM step WHERE {named} ORDER BY position",  # noqa: S608  our own
            (after_id,),
        )
        return [_step_info((*row[:-1], None)) for row in rows], last_id


def _without_bulk(info: StepInfo) -> StepInfo:
    report = info.report
    if report is None or len(report.model_dump_json()) <= MAX_SHOWN_BYTES:
        return info
    return info.model_copy(update={"report": report.model_copy(update={"parameters": {}})})


def read_step_events(path: Path, *, after_id: int = 0, limit: int = 1000) -> list[StepEventInfo]:
    """What happened to the steps, oldest first, after the event with this id."""
    with _reading(path) as connection:
        if connection is None:
            return []
        rows: Rows = connection.execute(
            "SELECT id, at, step, attempt, event, detail FROM step_event WHERE id > ? "
            "ORDER BY id LIMIT ?",
            (after_id, limit),
        )
        found = rows.fetchall()
    return [
        StepEventInfo(
            id=row[0], at=moment(row[1]), step=row[2], attempt=row[3], event=row[4],
            detail=json.loads(row[5]),
        )
        for row in found
    ]  # fmt: skip


@contextmanager
def _reading(path: Path) -> Iterator[apsw.Connection | None]:
    """A connection that only reads; None where nothing has been laid out yet."""
    if not path.exists():
        yield None
        return
    connection = open_reader(path, busy_timeout_s=BUSY_TIMEOUT_S)
    with closing(connection), database_errors(path):
        connection.execute("BEGIN")  # all that is read is of one point in time
        version = checked_version(connection, path, STEPS)
        yield connection if version else None


def copy_steps(
    source: Path, target: Path, *, old_folder: str, new_folder: str, rerun: Sequence[str] = ()
) -> None:
    """Begin a pipeline's database with what stands in another as of now.

    What the steps left is in another run's folder now, as their reports say then; what they
    returned stays as it is. The steps in `rerun` have an empty fingerprint in the copy: what they
    have done counts for nothing that they can be asked for.
    """
    copy_database(source, target)
    with database_errors(target), closing(apsw.Connection(str(target))) as new:
        new.execute(
            "UPDATE step SET report = iif(report ->> 'outputs' IS NULL, "
            "replace(report, :old, :new), "
            "json_set(replace(report, :old, :new), '$.outputs', report ->> 'outputs'))",
            {"old": old_folder + "/", "new": new_folder + "/"},
        )
        new.executemany(
            "UPDATE step SET fingerprint = '' WHERE name = ?", [(name,) for name in rerun]
        )


def _steps(connection: apsw.Connection, which: str = "") -> list[StepInfo]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM step {which} ORDER BY position"  # noqa: S608  our own words
    )
    return [_step_info(row) for row in rows]


def _step_info(row: tuple[Any, ...]) -> StepInfo:
    fields = dict(zip(StepInfo.model_fields, row, strict=True))
    report = fields["report"]
    return StepInfo.model_construct(
        **{
            **fields,
            "state": StepState(fields["state"]),
            "outcome": None if fields["outcome"] is None else StepOutcome(fields["outcome"]),
            "started_at": optional_moment(fields["started_at"]),
            "finished_at": optional_moment(fields["finished_at"]),
            "report": None if report is None else StepReport.model_validate_json(report),
        }
    )
