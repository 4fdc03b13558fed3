"""The trials of one study: a database of its own in the run's folder.

Written by the study's own process alone, row by row as things happen, so that trials go on while
the daemon is down; read by whoever likes. All attempts of a run share the file. What a study holds
is read one row at a time where it may be much.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import apsw
from pydantic import JsonValue
from pydantic_core import to_json

from intendant.protocol.trial_records import TrialInfo
from intendant.protocol.trial_states import TrialOutcome, TrialState
from intendant.store.cells import Rows, micros, optional_moment
from intendant.store.database import (
    BUSY_TIMEOUT_S,
    TRIALS,
    checked_version,
    close_quietly,
    database_errors,
    open_reader,
    prepare,
)

TRIALS_FILE = "study.db"

Cell: TypeAlias = str | int | float | bytes | None

_EVENTS = {
    TrialState.PENDING: "requeued",
    TrialState.RUNNING: "started",
    TrialState.PAUSED: "paused",
    TrialState.ENDED: "ended",
}


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial as it stands in the database."""

    number: int
    state: TrialState
    outcome: TrialOutcome | None
    reason: str | None
    params: dict[str, JsonValue]
    failures: int
    starts: int
    running_s: float
    value: float | None
    step: int | None
    results: int
    checkpoint: str | None
    notes: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One result."""

    trial: int
    seq: int
    step: int
    running_s: float
    value: float | None
    metrics: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A folder that is kept, and the result that it came with."""

    path: str
    result: ResultRow


@dataclass(frozen=True, slots=True)
class StudyRow:
    """What is true of the study as a whole."""

    fingerprint: str
    metric: str
    mode: str
    seed: int
    proposed: int = 0
    elapsed_s: float = 0.0
    searcher: bytes | None = field(default=None, repr=False)
    scheduler: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class TrialChanges:
    """What one transaction writes."""

    trials: Sequence[TrialRow] = ()
    results: Sequence[ResultRow] = ()
    rewound: Sequence[tuple[int, int]] = ()
    """Trial, and the last of its results that counts."""
    checkpoints: Sequence[tuple[str, int, int]] = ()
    """Path, trial, and the result that it came with."""
    dropped: Sequence[str] = ()
    orders: Sequence[tuple[str, int | None]] = ()
    """Key of an order from outside that was acted on, and the trial that it added."""
    study: Mapping[str, Cell] = field(default_factory=dict)


class TrialStore:
    """The database of one study, for the process that conducts it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = prepare(path, busy_timeout_s=BUSY_TIMEOUT_S, schema=TRIALS)
        self._states: dict[int, TrialState] = {}
        """Of the trials that have not ended."""
        with database_errors(path):
            rows: Rows = self._execute("SELECT number, state FROM trial WHERE state <> 'ended'")
            self._states = {number: TrialState(state) for number, state in rows}

    def __enter__(self) -> TrialStore:
        return self

    def __exit__(self, *_: object) -> None:
        close_quietly(self._connection)

    def study(self) -> StudyRow | None:
        """The study, if it has begun."""
        with database_errors(self.path):
            return _study_row(self._connection)

    def begin(self, study: StudyRow) -> None:
        """Write down that the study begins."""
        with self._transaction():
            self._execute(
                "INSERT INTO study (id, fingerprint, metric, mode, seed) VALUES (1, ?, ?, ?, ?)",
                (study.fingerprint, study.metric, study.mode, study.seed),
            )

    def write(self, changes: TrialChanges) -> None:
        """Make these changes, all or none; they are on disk when this returns."""
        now = micros(datetime.now(UTC))
        with self._transaction():
            for trial, seq in changes.rewound:
                self._execute("DELETE FROM result WHERE trial = ? AND seq > ?", (trial, seq))
            for row in changes.trials:
                self._write_trial(row, now)
            self._connection.executemany(
                "INSERT INTO result (trial, seq, step, at, running_s, value, metrics) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [_result_cells(result, now) for result in changes.results],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO checkpoint (path, trial, seq) VALUES (?, ?, ?)",
                changes.checkpoints,
            )
            self._connection.executemany(
                "DELETE FROM checkpoint WHERE path = ?", [(path,) for path in changes.dropped]
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO trial_order (key, trial) VALUES (?, ?)", changes.orders
            )
            self._write_study(changes.study)
        self._note_states(changes.trials)

    def _note_states(self, rows: Iterable[TrialRow]) -> None:
        for row in rows:
            if row.state is TrialState.ENDED:
                self._states.pop(row.number, None)
            else:
                self._states[row.number] = row.state

    def _write_study(self, columns: Mapping[str, Cell]) -> None:
        if columns:
            assignments = ", ".join(f"{name} = :{name}" for name in columns)
            # The names are literals of this package; the values are bound.
            self._execute(f"UPDATE study SET {assignments}", dict(columns))  # noqa: S608

    def _write_trial(self, row: TrialRow, now: int) -> None:
        cells = _trial_cells(row)
        before = self._states.get(row.number)
        names = ", ".join(cells)
        slots = ", ".join(f":{name}" for name in cells)
        news = ", ".join(f"{name} = excluded.{name}" for name in cells if name != "number")
        # A trial that has ended may live again; it has its row already.
        self._execute(
            f"INSERT INTO trial ({names}, added_at, updated_at) VALUES ({slots}, :now, :now) "  # noqa: S608
            f"ON CONFLICT DO UPDATE SET {news}, updated_at = :now",
            {**cells, "now": now},
        )
        if before is not row.state:
            self._on_moved(row, before, now)

    def _on_moved(self, row: TrialRow, before: TrialState | None, now: int) -> None:
        """Times of the row, and an event."""
        is_new = before is None and row.starts == 0 and row.state is TrialState.PENDING
        event = "added" if is_new else _EVENTS[row.state]
        if row.state is TrialState.RUNNING:
            self._execute(
                "UPDATE trial SET started_at = coalesce(started_at, ?), finished_at = NULL "
                "WHERE number = ?",
                (now, row.number),
            )
        elif row.state is TrialState.ENDED:
            self._execute("UPDATE trial SET finished_at = ? WHERE number = ?", (now, row.number))
        self._note_event(row, event, now)

    def _note_event(self, row: TrialRow, event: str, now: int) -> None:
        detail = {"outcome": row.outcome, "reason": row.reason} if row.outcome else {}
        self._execute(
            "INSERT INTO trial_event (at, trial, start, event, detail) VALUES (?, ?, ?, ?, ?)",
            (now, row.number, row.starts, event, json.dumps(detail)),
        )

    def has_order(self, key: str) -> bool:
        """Whether an order from outside was acted on."""
        with database_errors(self.path):
            found = self._execute("SELECT 1 FROM trial_order WHERE key = ?", (key,)).fetchone()
        return found is not None

    def settle(self, rows: Sequence[TrialRow]) -> None:
        """Let trials be as these say; when each was changed last stays as it is."""
        now = micros(datetime.now(UTC))
        with self._transaction():
            for row in rows:
                is_over = row.state is TrialState.ENDED
                self._execute(
                    "UPDATE trial SET state = ?, outcome = ?, reason = ?, checkpoint = ?, "
                    "finished_at = ? WHERE number = ?",
                    (
                        row.state, row.outcome, row.reason, row.checkpoint,
                        now if is_over else None, row.number,
                    ),
                )  # fmt: skip
                self._note_event(row, _EVENTS[row.state], now)
        self._note_states(rows)

    # --- for a study that goes on ----------------------------------------------------------------

    def trials(self) -> Iterator[TrialRow]:
        """Every trial by its number, one at a time."""
        with database_errors(self.path):
            rows = self._execute(f"SELECT {_COLUMNS} FROM trial ORDER BY number")  # noqa: S608
            for row in rows:
                yield _trial_row(row)

    def newest_first(self) -> Iterator[TrialRow]:
        """Every trial, one at a time, the one that was changed last first."""
        with database_errors(self.path):
            rows = self._execute(
                f"SELECT {_COLUMNS} FROM trial ORDER BY updated_at DESC, number DESC"  # noqa: S608
            )
            for row in rows:
                yield _trial_row(row)

    def values_of(self, trial: int) -> dict[int, float]:
        """The metric of one trial by step; of a step that came twice the last."""
        with database_errors(self.path):
            rows = self._execute(
                "SELECT step, value FROM result WHERE trial = ? AND value IS NOT NULL ORDER BY seq",
                (trial,),
            )
            return dict(rows.fetchall())

    def result(self, trial: int, seq: int) -> ResultRow | None:
        """One result."""
        with database_errors(self.path):
            row = self._execute(
                "SELECT trial, seq, step, running_s, value, metrics FROM result "
                "WHERE trial = ? AND seq = ?",
                (trial, seq),
            ).fetchone()
        if row is None:
            return None
        trial, seq, step, running_s, value, metrics = row
        return ResultRow(trial, seq, step, running_s, value, json.loads(metrics))

    def last_result(self, trial: int) -> ResultRow | None:
        """The last result of a trial."""
        with database_errors(self.path):
            row = self._execute(
                "SELECT coalesce(max(seq), 0) FROM result WHERE trial = ?", (trial,)
            ).fetchone()
        return self.result(trial, row[0]) if row is not None else None

    def checkpoints(self, trial: int) -> list[CheckpointRow]:
        """The checkpoints of a trial that are kept, oldest first."""
        with database_errors(self.path):
            rows = self._execute(
                "SELECT path, seq FROM checkpoint WHERE trial = ? ORDER BY seq", (trial,)
            ).fetchall()
        found = [(path, self.result(trial, seq)) for path, seq in rows]
        return [CheckpointRow(path, result) for path, result in found if result is not None]

    def checkpoint(self, path: str) -> tuple[int, CheckpointRow] | None:
        """Whose checkpoint a folder is, with its result."""
        with database_errors(self.path):
            row = self._execute(
                "SELECT trial, seq FROM checkpoint WHERE path = ?", (path,)
            ).fetchone()
        result = None if row is None else self.result(*row)
        return None if row is None or result is None else (row[0], CheckpointRow(path, result))

    @property
    def _execute(self) -> Any:
        return self._connection.execute

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with database_errors(self.path), self._connection:
            yield


def _study_row(connection: apsw.Connection) -> StudyRow | None:
    found: Any = connection.execute(
        "SELECT fingerprint, metric, mode, seed, proposed, elapsed_s, searcher, scheduler "
        "FROM study"
    ).fetchone()
    return None if found is None else StudyRow(*found)


_COLUMNS = ", ".join(column.name for column in fields(TrialRow))


def _trial_cells(row: TrialRow) -> dict[str, Cell]:
    return {
        "number": row.number,
        "state": row.state,
        "outcome": row.outcome,
        "reason": row.reason,
        "params": to_json(row.params).decode(),
        "failures": row.failures,
        "starts": row.starts,
        "running_s": row.running_s,
        "value": _finite(row.value),
        "step": row.step,
        "results": row.results,
        "checkpoint": row.checkpoint,
        "notes": to_json(row.notes).decode(),
    }


def _result_cells(row: ResultRow, now: int) -> tuple[Cell, ...]:
    # Not-a-number and the infinities, which JSON has not, are texts there.
    metrics = to_json(dict(row.metrics), inf_nan_mode="strings").decode()
    return (row.trial, row.seq, row.step, now, row.running_s, _finite(row.value), metrics)


def _finite(value: float | None) -> float | None:
    """SQLite has no nan: it would store NULL without a word."""
    return value if value is not None and value == value else None


def _trial_row(row: tuple[Any, ...]) -> TrialRow:
    cells = dict(zip((column.name for column in fields(TrialRow)), row, strict=True))
    cells["state"] = TrialState(cells["state"])
    cells["outcome"] = None if cells["outcome"] is None else TrialOutcome(cells["outcome"])
    cells["params"] = json.loads(cells["params"])
    cells["notes"] = json.loads(cells["notes"])
    return TrialRow(**cells)


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection | None]:
    """A study's database, for somebody who only looks; None while there is nothing in it."""
    if not path.exists():
        yield None
        return
    connection = open_reader(path, busy_timeout_s=BUSY_TIMEOUT_S)
    with closing(connection), database_errors(path):
        yield connection if checked_version(connection, path, TRIALS) else None


PAGE = 200


@dataclass(frozen=True, slots=True)
class TrialPage:
    """Some trials; how many there are of each outcome or state, and in all."""

    trials: list[TrialInfo]
    counts: dict[str, int]
    total: int


def read_trial_page(
    path: Path,
    *,
    offset: int = 0,
    limit: int = PAGE,
    best_of: str | None = None,
    further: Sequence[str] = (),
) -> TrialPage:
    """Trials in a study's database, whoever writes it meanwhile: by number, or the best first.

    `best_of` says which are best: those with a `min` or a `max` value. Of the metrics `further`
    each trial has what its last result says.
    """
    best = f"value IS NULL, value {'DESC' if best_of == 'max' else 'ASC'}, number"
    with reading(path) as connection:
        if connection is None:
            return TrialPage([], {}, 0)
        rows = connection.execute(
            f"SELECT {_SHOWN}, {_FURTHER} FROM trial "  # noqa: S608
            f"ORDER BY {best if best_of else 'number'} LIMIT ? OFFSET ?",
            (json.dumps([*further]), limit, offset),
        ).fetchall()
        counted: Rows = connection.execute(
            "SELECT coalesce(outcome, state), count(*) FROM trial GROUP BY 1 ORDER BY 1"
        )
        counts = dict(counted)
    return TrialPage([_trial_info(row) for row in rows], counts, sum(counts.values()))


def strange_trials(path: Path, numbers: Sequence[int]) -> list[int]:
    """Those of the numbers that no trial has."""
    with reading(path) as connection:
        if connection is None:
            return list(numbers)
        known = "SELECT number FROM trial WHERE number IN (SELECT value FROM json_each(?))"
        rows: Rows = connection.execute(known, (json.dumps([*numbers]),))
        found = {number for (number,) in rows}
    return [number for number in numbers if number not in found]


def read_trials(path: Path) -> list[TrialInfo]:
    """All trials in a study's database, by number."""
    return read_trial_page(path, limit=-1).trials


_SHOWN = (
    "number, state, outcome, reason, params, value, step, results, failures, starts, running_s, "
    "added_at, started_at, finished_at, coalesce(checkpoint, "
    "(SELECT path FROM checkpoint WHERE trial = number ORDER BY seq DESC LIMIT 1))"
)

# `type` tells `true`, which is no number, from 1 (https://sqlite.org/json1.html#jeach).
_FURTHER = (
    "(SELECT json_group_object(said.key, said.value) FROM result, json_each(metrics) AS said "
    "WHERE result.trial = number AND result.seq = results AND said.type IN ('integer', 'real') "
    "AND said.key IN (SELECT value FROM json_each(?)))"
)


def _trial_info(row: tuple[Any, ...]) -> TrialInfo:
    shown = dict(zip(TrialInfo.model_fields, row, strict=True))
    shown["params"] = json.loads(shown["params"])
    for name in ("added_at", "started_at", "finished_at"):
        shown[name] = optional_moment(shown[name])
    further = json.loads(shown["further"])
    shown["further"] = {name: value for name, value in further.items() if math.isfinite(value)}
    return TrialInfo.model_validate(shown)


def read_study(path: Path) -> StudyRow | None:
    """The study in a database, if it has begun."""
    with reading(path) as connection:
        if connection is None:
            return None
        return _study_row(connection)


def checkpoint_paths(path: Path) -> list[str]:
    """Every checkpoint that is kept, a folder below the run's."""
    with reading(path) as connection:
        if connection is None:
            return []
        return [str(row[0]) for row in connection.execute("SELECT path FROM checkpoint")]


def copy_trials(source: Path, target: Path) -> None:
    """A database with what stands in another, as of now (sqlite.org/backup.html)."""
    target.unlink(missing_ok=True)
    with (
        database_errors(source),
        closing(open_reader(source, busy_timeout_s=BUSY_TIMEOUT_S)) as old,
        closing(apsw.Connection(str(target))) as new,
        new.backup("main", old, "main") as backup,
    ):
        backup.step()
