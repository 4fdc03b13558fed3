"""Rows as Python values: what a row holds, what of it is shown, how events give it back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from threading import Lock
from typing import Any, NamedTuple

from pydantic import JsonValue, ValidationError

from intendant.errors import RunUnreadable, StoreError
from intendant.protocol.bulk import LARGE, uncollected_if
from intendant.protocol.records import (
    AttemptRecord,
    EventRecord,
    RunRecord,
    UnreadableRun,
    UnreadableSpec,
    UnreadableWorkload,
)
from intendant.protocol.run_states import Outcome, RunEvent, RunNote, RunState, after
from intendant.protocol.specs import RunSpec
from intendant.store.cells import Cell, micros, moment, optional_moment

# --- runs ----------------------------------------------------------------------------------------

LARGE_SPEC = 64 * 1024
"""Characters of JSON that take longer to read than all else that happens to a run at once."""
MAX_LARGE = 2
"""How many large specs are at hand, the latest."""

_LARGE: dict[str, RunSpec] = {}
_large_lock = Lock()
"""The writer's thread and the reader's."""


class RunRow(NamedTuple):
    """One row of `run`, its columns in the order of `SELECT_RUN`; times as they are stored."""

    id: int
    account: str
    submission_key: str | None
    name: str | None
    kind: str
    queue: str
    priority: int
    state: RunState
    outcome: Outcome | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    attempt: int
    tries: int
    burnt: int
    stop_outcome: Outcome | None
    stop_reason: str | None
    not_before: int | None
    open_dependencies: int
    submitted_at: int
    started_at: int | None
    finished_at: int | None
    spec: RunSpec

    def record(self) -> RunRecord:
        """What is shown of it."""
        return RunRecord(**self.shown())

    def shown(self) -> dict[str, Any]:
        """The fields of its record."""
        return {name: getattr(self, name) for name in _SHOWN} | {
            "submitted_at": moment(self.submitted_at),
            "started_at": optional_moment(self.started_at),
            "finished_at": optional_moment(self.finished_at),
        }


SELECT_RUN = """SELECT id, account, submission_key, name, kind, queue, priority, state, outcome,
    reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before,
    open_dependencies, submitted_at, started_at, finished_at, spec FROM run"""

_UNBORN = dict.fromkeys(RunRow._fields) | dict.fromkeys(
    ("attempt", "tries", "burnt", "open_dependencies"), 0
)
_TIMES = frozenset({"submitted_at", "started_at", "finished_at", "not_before"})
_SHOWN = tuple(name for name in RunRecord.model_fields if name not in _TIMES)


def run_row(values: Iterable[Any]) -> RunRow:
    """A row from its columns, in the order of `SELECT_RUN`; or `RunUnreadable`."""
    cells = RunRow._make(values)
    try:
        return _typed(cells)
    except ValidationError as error:
        raise RunUnreadable(f"run {cells.id} can't be read: its spec: {_told(error)}") from None


def listed_run(values: Iterable[Any]) -> RunRecord | UnreadableRun:
    """What a list of runs shows of a row, be its spec readable or not."""
    cells = RunRow._make(values)
    try:
        return _typed(cells).record()
    except ValidationError as error:
        workload = UnreadableWorkload(kind="unreadable", problem=_told(error))
        return UnreadableRun(**{**cells.shown(), "spec": UnreadableSpec(workload=workload)})


def _typed(cells: RunRow) -> RunRow:
    typed: dict[str, Any] = {name: read(getattr(cells, name)) for name, read in _READ.items()}
    return cells._replace(**typed)


def _told(error: ValidationError) -> str:
    """Where a spec is wrong, without what stands there."""
    wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, wrong['loc']))}: {wrong['type']}"


def new_row(columns: Mapping[str, Any], *, run_id: int, state: RunState, spec: RunSpec) -> RunRow:
    """The row of a run that was just submitted; `columns` are those that it brings itself."""
    return RunRow(**{**_UNBORN, **columns, "id": run_id, "state": state, "spec": spec})


def _outcome(text: str | None) -> Outcome | None:
    return None if text is None else Outcome(text)


def _read_spec(text: str) -> RunSpec:
    """A large one, as of a pipeline, is read once: its row is at each of the run's turns."""
    known = _LARGE.get(text) if len(text) > LARGE_SPEC else None
    if known is None:
        with uncollected_if(len(text) > LARGE):
            known = RunSpec.model_validate_json(text)
        keep_spec(text, known)
    return known


def keep_spec(text: str, spec: RunSpec) -> None:
    """Have a large spec at hand for whoever reads it next."""
    if len(text) <= LARGE_SPEC:
        return
    with _large_lock:
        _LARGE[text] = spec
        while len(_LARGE) > MAX_LARGE:
            del _LARGE[next(iter(_LARGE))]


def known_text(spec: RunSpec) -> str | None:
    """The text of a large spec that is at hand."""
    with _large_lock:
        return next((text for text, known in _LARGE.items() if known is spec), None)


_READ: dict[str, Callable[[Any], object]] = {
    "state": RunState,
    "outcome": _outcome,
    "stop_outcome": _outcome,
    "spec": _read_spec,
}


# --- attempts and events -------------------------------------------------------------------------


class AttemptRow(NamedTuple):
    """One row of `attempt`, without its token."""

    run_id: int
    attempt: int
    outcome: str | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    granted_at: int
    started_at: int | None
    finished_at: int | None

    def record(self) -> AttemptRecord:
        """What is shown of it."""
        return AttemptRecord(
            run_id=self.run_id,
            attempt=self.attempt,
            outcome=_outcome(self.outcome),
            reason=self.reason,
            exit_code=self.exit_code,
            signal=self.signal,
            granted_at=moment(self.granted_at),
            started_at=optional_moment(self.started_at),
            finished_at=optional_moment(self.finished_at),
        )


SELECT_ATTEMPT = """SELECT run_id, attempt, outcome, reason, exit_code, signal, granted_at,
    started_at, finished_at FROM attempt"""

SELECT_EVENT = "SELECT id, run_id, seq, at, attempt, event, before, after, detail FROM event"


def event_record(values: Iterable[Any]) -> EventRecord:
    """An event from its columns, in the order of `SELECT_EVENT`."""
    event_id, run_id, seq, at, attempt, event, before, state, detail = values
    return EventRecord(
        id=event_id,
        run_id=run_id,
        seq=seq,
        at=moment(at),
        attempt=attempt,
        event=event,
        before=before,
        after=state,
        detail=json.loads(detail),
    )


# --- replay --------------------------------------------------------------------------------------

ROW_EVENTS = frozenset({*RunEvent, RunNote.SUBMITTED, RunNote.PRIORITY_SET})
"""The events whose detail sets columns. All others leave the row alone, whatever they carry."""

_IMMUTABLE_PART = "spec_sha256"
_NOT_REPLAYED = frozenset({"spec", "open_dependencies"})
_REPLAYED = {*RunRow._fields, _IMMUTABLE_PART} - _NOT_REPLAYED
_IN_EVERY_EVENT = frozenset({"id", "state", "attempt"})
_IN_DETAILS = _REPLAYED - _IN_EVERY_EVENT


def spec_sha256(spec: str) -> str:
    """What the first event says of the spec, which never changes and can be large."""
    return hashlib.sha256(spec.encode()).hexdigest()


def detail_of(columns: Mapping[str, Cell]) -> dict[str, JsonValue]:
    """New values of columns as an event's detail tells them: times in RFC 3339."""
    return {
        name: _rfc3339(value) if name in _TIMES and isinstance(value, int) else value
        for name, value in columns.items()
        if name not in _IN_EVERY_EVENT
    }


def replay(events: Iterable[EventRecord]) -> dict[str, Cell]:
    """A run's row from its events, first to last; `StoreError` where they make no sense.

    What comes back compares to `replayable` of the row.
    """
    row: dict[str, Cell] = {name: _UNBORN.get(name) for name in _REPLAYED}
    for seq, event in enumerate(events, start=1):
        _check(event, seq=seq, state=row["state"])
        row |= {"id": event.run_id, "state": event.after, "attempt": event.attempt}
        if event.event in ROW_EVENTS:
            row |= _columns_of(event.detail)
    return row


def replayable(columns: Mapping[str, Any]) -> dict[str, Cell]:
    """A row, by column, without what is derived from other rows and with its spec's digest."""
    row = {name: value for name, value in columns.items() if name not in _NOT_REPLAYED}
    return row | {_IMMUTABLE_PART: spec_sha256(columns["spec"])}


def _check(event: EventRecord, *, seq: int, state: Cell) -> None:
    if event.seq != seq:
        raise StoreError(f"run {event.run_id}: found event {event.seq}, expected event {seq}")
    if event.before != state:
        raise StoreError(f"run {event.run_id}, event {seq}: before is {event.before}, not {state}")
    if event.after != _expected(event):
        raise StoreError(f"run {event.run_id}, event {seq}: {event.event} can't give {event.after}")


def _expected(event: EventRecord) -> RunState:
    if event.before is None:
        if event.event != RunNote.SUBMITTED:
            raise StoreError(f"run {event.run_id} begins with {event.event}")
        return event.after
    if event.event in set(RunEvent):
        return after(event.before, RunEvent(event.event))
    return event.before


def _columns_of(detail: Mapping[str, JsonValue]) -> dict[str, Cell]:
    """The columns that a detail sets; the rest of it is for people."""
    return {
        name: micros(datetime.fromisoformat(value))
        if name in _TIMES and isinstance(value, str)
        else value
        for name, value in detail.items()
        if name in _IN_DETAILS and isinstance(value, str | int | None)
    }


def _rfc3339(stored: int) -> str:
    return moment(stored).isoformat().replace("+00:00", "Z")
