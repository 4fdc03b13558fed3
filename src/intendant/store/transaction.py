"""One request inside the writer's transaction: rows to read, moves to make, events to append.

A move writes the row and its event from the same values, which is why replaying the events of a
run gives its row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import apsw
from pydantic import JsonValue

from intendant.errors import IllegalTransition, RunNotFound
from intendant.protocol.run_states import RunEvent, RunNote, RunState, after
from intendant.store.cells import Cell, Execute, micros
from intendant.store.rows import SELECT_ATTEMPT, SELECT_RUN, AttemptRow, RunRow, detail_of, run_row

_AS_JSON = json.JSONEncoder(separators=(",", ":")).encode


class Transaction:
    """What a request may do. Either all of it happens or nothing."""

    def __init__(self, connection: apsw.Connection, now: Callable[[], datetime]) -> None:
        self.execute: Execute = connection.execute
        self._now = now
        self._touched: dict[int, RunRow] = {}

    def now(self) -> int:
        """The time, as it is stored."""
        return micros(self._now())

    def run(self, run_id: int) -> RunRow:
        """The run as it is now, or `RunNotFound`, or `RunUnreadable`."""
        values = self.execute(f"{SELECT_RUN} WHERE id = ?", (run_id,)).fetchone()
        if values is None:
            raise RunNotFound(f"no run {run_id}")
        return run_row(values)

    def attempt(self, run_id: int, attempt: int) -> AttemptRow | None:
        """The attempt, if there was one of this number."""
        values = self.execute(
            f"{SELECT_ATTEMPT} WHERE run_id = ? AND attempt = ?", (run_id, attempt)
        ).fetchone()
        return None if values is None else AttemptRow._make(values)

    def move(
        self,
        row: RunRow,
        event: RunEvent,
        columns: Mapping[str, Cell] | None = None,
        *,
        at: int | None = None,
        detail: dict[str, JsonValue] | None = None,
    ) -> RunRow:
        """Let `event` happen to the run and set `columns`; `IllegalTransition` if it can't."""
        news = _news(row, {"state": _after(row, event), **(columns or {})})
        new = self._update(row, news)
        self._append(row, new, event, at=at, detail=detail_of(news) | (detail or {}))
        return new

    def set(self, row: RunRow, event: RunNote, columns: Mapping[str, Cell]) -> RunRow:
        """Set `columns` of a run whose state stays."""
        news = _news(row, columns)
        new = self._update(row, news)
        self._append(row, new, event, detail=detail_of(news))
        return new

    def note(
        self,
        row: RunRow,
        event: str,
        *,
        at: int | None = None,
        detail: dict[str, JsonValue] | None = None,
    ) -> None:
        """Append an event that leaves the row alone."""
        self._append(row, row, event, at=at, detail=detail or {})

    def begin(self, row: RunRow, detail: dict[str, JsonValue]) -> None:
        """Append the first event of a run that was just inserted."""
        self._append(None, row, RunNote.SUBMITTED, at=row.submitted_at, detail=detail)

    def touched(self) -> list[RunRow]:
        """The runs that this request changed or noted something of, as they are now."""
        return [*self._touched.values()]

    def _update(self, row: RunRow, columns: dict[str, Cell]) -> RunRow:
        if not columns:
            return row
        assignments = ", ".join(f"{name} = ?" for name in columns)
        # The names are literals of this package; the values are bound.
        statement = f"UPDATE run SET {assignments} WHERE id = ?"  # noqa: S608
        self.execute(statement, (*columns.values(), row.id))
        typed: dict[str, Any] = columns
        return row._replace(**typed)

    def _append(
        self,
        old: RunRow | None,
        new: RunRow,
        event: str,
        *,
        at: int | None = None,
        detail: dict[str, JsonValue],
    ) -> None:
        before: RunState | None = None if old is None else old.state
        self.execute(
            "INSERT INTO event (run_id, seq, at, attempt, event, before, after, detail) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                new.id,
                1 if old is None else self._last_seq(new.id) + 1,
                self.now() if at is None else at,
                new.attempt,
                event,
                before,
                new.state,
                _AS_JSON(detail),
            ),
        )
        self._touched[new.id] = new

    def _last_seq(self, run_id: int) -> int:
        """The number of the newest event of a run that has one."""
        seq: int = self.execute(
            "SELECT seq FROM event WHERE run_id = ? ORDER BY seq DESC LIMIT 1", (run_id,)
        ).fetchone()[0]
        return seq


def _after(row: RunRow, event: RunEvent) -> RunState:
    try:
        return after(row.state, event)
    except IllegalTransition as error:
        raise IllegalTransition(f"run {row.id}: {error}") from error


def _news(row: RunRow, columns: Mapping[str, Cell]) -> dict[str, Cell]:
    """The columns whose value is not what it was."""
    return {name: value for name, value in columns.items() if getattr(row, name) != value}
