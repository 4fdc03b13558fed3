"""What can be asked of the database, by ways that do not lead past runs nobody asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from intendant.errors import InvalidRequest, RunNotFound, RunUnreadable, StaleAttempt
from intendant.protocol.pipelines import children_keys
from intendant.protocol.records import (
    AttemptRecord,
    EventRecord,
    QueueRecord,
    RunRecord,
    UnreadableRun,
)
from intendant.protocol.run_states import LIVE, Outcome, RunState
from intendant.protocol.selectors import MAX_RUN_ID, Selection
from intendant.protocol.specs import Secrets
from intendant.store.base import Candidate, Grant, LiveAttempt
from intendant.store.cells import Execute, Rows, micros, moment
from intendant.store.rows import (
    SELECT_ATTEMPT,
    SELECT_EVENT,
    SELECT_RUN,
    AttemptRow,
    RunRow,
    event_record,
    listed_run,
    run_row,
)

log = structlog.get_logger()

MAX_LOGGED = 10_000
"""The most runs whose events can be asked for by name."""

# --- runs ----------------------------------------------------------------------------------------


def run(execute: Execute, run_id: int) -> RunRecord:
    """One run, or `RunNotFound`."""
    return row_of(execute, run_id).record()


def named(execute: Execute, run_ids: Sequence[int]) -> list[RunRecord]:
    """These runs, as `run` gives them."""
    return [run(execute, run_id) for run_id in run_ids]


def runs(
    execute: Execute,
    *,
    states: Collection[RunState] = (),
    outcomes: Collection[Outcome] = (),
    queue: str | None = None,
    selection: Selection | None = None,
    limit: int = 100,
    before_id: int | None = None,
    owner: str | None = None,
) -> tuple[list[RunRecord | UnreadableRun], bool]:
    """A page, newest first, and whether there are more."""
    pages = _page_query(states, outcomes, queue, owner)
    if pages is None:
        return [], False
    found: list[RunRecord | UnreadableRun] = []
    for low, high in intervals(execute, selection, owner):
        bounds = {"low": low, "high": min(high, (before_id or MAX_RUN_ID + 1) - 1)}
        wanted = {"queue": queue, "owner": owner, "limit": limit + 1 - len(found)}
        found += [listed_run(values) for values in execute(pages, bounds | wanted).fetchall()]
        if len(found) > limit:
            break
    return found[:limit], len(found) > limit


def select(
    execute: Execute,
    selection: Selection,
    *,
    among_all: Collection[RunState] | None = None,
    owner: str | None = None,
) -> list[int]:
    """The ids that a selection means, ascending; what it names must exist, and be the owner's."""
    ids = set(selection.ids)
    _check_exist(execute, selection.ids, owner)
    for low, high in selection.ranges:
        found = _ids(
            execute(
                "SELECT id FROM run WHERE id BETWEEN :low AND :high "
                "AND (:owner IS NULL OR account = :owner)",
                {"low": low, "high": high, "owner": owner},
            )
        )
        if not found:
            raise RunNotFound(f"no run in {low}-{high}")
        ids.update(found)
    if selection.last:
        ids.add(newest_id(execute, owner))
    if selection.all:
        ids.update(_in_states(execute, among_all, owner))
    return sorted(ids)


def attempts(execute: Execute, run_id: int) -> list[AttemptRecord]:
    """The run's attempts, oldest first."""
    row_of(execute, run_id)
    rows = execute(f"{SELECT_ATTEMPT} WHERE run_id = ? ORDER BY attempt", (run_id,))
    return [AttemptRow._make(values).record() for values in rows]


def live(execute: Execute) -> list[LiveAttempt]:
    """Every run that has an attempt, by id; who can't be read is left out, and logged."""
    found = []
    for run_id in sorted(_in_states(execute, LIVE)):
        try:
            row = row_of(execute, run_id)
        except RunUnreadable as error:
            log.critical("run_put_aside", run_id=run_id, error=str(error))
            continue
        token = execute(
            "SELECT token_sha256 FROM attempt WHERE run_id = ? AND attempt = ?",
            (row.id, row.attempt),
        ).fetchall()[0][0]
        found.append(
            LiveAttempt(row.record(), str(token), row.stop_outcome, row.stop_reason, row.burnt)
        )
    return found


def grant_info(execute: Execute, run_id: int) -> Grant:
    """What a live run's start request needs, once more."""
    row = row_of(execute, run_id)
    if row.state not in LIVE:
        raise StaleAttempt(f"run {run_id} is {row.state} and has no attempt to start")
    return Grant(row.record(), secrets_of(execute, run_id))


def secrets_of(execute: Execute, run_id: int) -> Secrets:
    """What the run needs and nobody is shown."""
    found = execute(
        "SELECT body, env, pickle FROM secret "
        "LEFT JOIN environment ON environment.id = environment_id WHERE run_id = ?",
        (run_id,),
    ).fetchone()
    if found is None:
        return Secrets()
    return Secrets(environment=found[0], env=json.loads(found[1]), pickle=found[2])


# --- the queue -----------------------------------------------------------------------------------

_READY = """SELECT id, attempt, queue, priority, only_waits FROM run INDEXED BY run_ready
    WHERE state = 'queued' AND open_dependencies = 0 AND not_before IS NULL AND queue = :queue
    AND only_waits = :only_waits ORDER BY priority DESC, id LIMIT :limit"""

_RIPE = """SELECT id, attempt, queue, priority, only_waits FROM run INDEXED BY run_backoff
    WHERE state = 'queued' AND open_dependencies = 0 AND not_before <= :now AND queue = :queue
    AND only_waits = :only_waits ORDER BY priority DESC, id LIMIT :limit"""

_CHILDREN = """SELECT id, attempt, queue, priority, only_waits FROM run INDEXED BY run_key
    WHERE account = (SELECT account FROM run WHERE id = :run_id)
    AND submission_key BETWEEN :first_key AND :last_key
    AND state = 'queued' AND open_dependencies = 0 AND coalesce(not_before, 0) <= :now"""


def candidates(
    execute: Execute,
    limits: Mapping[str, int],
    *,
    exclude: Collection[int],
    parents: int | None = None,
    now: datetime,
) -> list[Candidate]:
    """For each queue up to so many runs that may start now, best first over all.

    Beside them up to so many `parents`; `None`: these are runs like others.
    """
    found: list[Candidate] = []
    for queue, limit in limits.items():
        for only_waits, most in enumerate((limit, limit if parents is None else parents)):
            wanted = {"queue": queue, "limit": most + len(exclude), "now": micros(now)}
            wanted["only_waits"] = only_waits
            rows = execute(_READY, wanted).fetchall() + execute(_RIPE, wanted).fetchall()
            found += sorted(_eligible(rows, exclude), key=_turn)[:most]
    return sorted(found, key=_turn)


def children(
    execute: Execute,
    limits: Mapping[str, int],
    *,
    of: Collection[int],
    exclude: Collection[int],
    now: datetime,
) -> list[Candidate]:
    """Those of the candidates that carry out steps of the runs `of`, best first over all."""
    found: list[Candidate] = []
    for run_id in of:
        first_key, last_key = children_keys(run_id)
        keys = {"first_key": first_key, "last_key": last_key, "now": micros(now)}
        found += _eligible(execute(_CHILDREN, {"run_id": run_id, **keys}), exclude)
    return sorted((one for one in found if one.queue in limits), key=_turn)


def _eligible(rows: Iterable[Sequence[Any]], exclude: Collection[int]) -> list[Candidate]:
    return [
        Candidate(run_id, attempt, queue, priority, bool(only_waits))
        for run_id, attempt, queue, priority, only_waits in rows
        if run_id not in exclude
    ]


def _turn(candidate: Candidate) -> tuple[int, int]:
    """Higher priority first, then the older run."""
    return -candidate.priority, candidate.run_id


def next_eligible_at(execute: Execute, *, now: datetime) -> datetime | None:
    """When the next back-off ends."""
    found = execute(
        "SELECT not_before FROM run INDEXED BY run_backoff WHERE state = 'queued' "
        "AND open_dependencies = 0 AND not_before > ? ORDER BY not_before LIMIT 1",
        (micros(now),),
    ).fetchone()
    return None if found is None else moment(found[0])


def queue_records(execute: Execute) -> list[QueueRecord]:
    """Every queue, by name."""
    counts = {(queue, RunState(state)): runs for queue, state, runs in _counted(execute)}
    rows = execute("SELECT name, slots, paused FROM queue ORDER BY name").fetchall()
    return [
        QueueRecord(
            name=str(name),
            slots=slots,
            paused=bool(paused),
            queued=counts.get((name, RunState.QUEUED), 0),
            live=sum(counts.get((name, state), 0) for state in LIVE),
        )
        for name, slots, paused in rows
    ]


def counts(execute: Execute, owner: str | None = None) -> dict[RunState, int]:
    """How many runs are in each state; an owner's alone."""
    total = dict.fromkeys(RunState, 0)
    for _, state, runs_in_state in _counted(execute, owner):
        total[RunState(state)] += runs_in_state
    return total


# --- the log -------------------------------------------------------------------------------------


def events(
    execute: Execute,
    after_id: int,
    *,
    run_ids: Collection[int] = (),
    owner: str | None = None,
    limit: int = 1000,
) -> list[EventRecord]:
    """Events after one, oldest first; no ids mean every run, an owner those it has still."""
    among = "AND run_id IN (SELECT value FROM json_each(:run_ids))" if run_ids else ""
    if owner is not None:
        among += " AND EXISTS (SELECT 1 FROM run WHERE run.id = run_id AND account = :owner)"
    wanted = {"run_ids": json.dumps([*run_ids]), "owner": owner, "limit": limit}
    found = execute(
        f"{SELECT_EVENT} WHERE id > :after_id {among} ORDER BY id LIMIT :limit",
        {"after_id": after_id, **wanted},
    )
    return [event_record(values) for values in found]


def logged(execute: Execute, selection: Selection, *, owner: str | None = None) -> list[int]:
    """The ids of a selection that the log knows, pruned runs among them; what it names must exist.

    `all` has no ids: it is no filter.
    """
    found: set[int] = set()
    named = [*selection.ranges, *((run_id, run_id) for run_id in selection.ids)]
    if selection.last:
        newest = newest_id(execute, owner)
        named.append((newest, newest))
    for low, high in named:
        ids = _ids(
            execute(
                "SELECT DISTINCT run_id FROM event WHERE run_id BETWEEN :low AND :high "
                "AND (:owner IS NULL OR EXISTS "
                "(SELECT 1 FROM run WHERE run.id = run_id AND account = :owner)) LIMIT :limit",
                {"low": low, "high": high, "owner": owner, "limit": MAX_LOGGED + 1},
            )
        )
        if not ids:
            raise RunNotFound(f"no run {low}" if low == high else f"no run in {low}-{high}")
        found.update(ids)
    if len(found) > MAX_LOGGED:
        raise InvalidRequest(f"more than {MAX_LOGGED} runs are meant; ask for all, or for fewer")
    return sorted(found)


def last_event_id(execute: Execute) -> int:
    """The id of the newest event, pruned or not; 0 before the first."""
    return _last_given(execute, "event")


def last_run_id(execute: Execute) -> int:
    """The highest id that a run ever had, pruned or not; 0 before the first."""
    return _last_given(execute, "run")


def _last_given(execute: Execute, table: str) -> int:
    found = execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if found is None else int(found[0])


# --- pieces --------------------------------------------------------------------------------------


def row_of(execute: Execute, run_id: int) -> RunRow:
    """The row of a run, or `RunNotFound`, or `RunUnreadable`."""
    values = execute(f"{SELECT_RUN} WHERE id = ?", (run_id,)).fetchone()
    if values is None:
        raise RunNotFound(f"no run {run_id}")
    return run_row(values)


def _ids(rows: Rows) -> list[int]:
    return [run_id for (run_id,) in rows]


def _counted(execute: Execute, owner: str | None = None) -> Iterator[tuple[str, str, int]]:
    if owner is None:
        return iter(execute("SELECT queue, state, runs FROM run_count"))
    own = "SELECT queue, state, count(*) FROM run WHERE account = ? GROUP BY queue, state"
    return iter(execute(own, (owner,)))


def _in_states(
    execute: Execute, states: Collection[RunState] | None, owner: str | None = None
) -> list[int]:
    wanted = RunState if states is None else states
    return _ids(
        execute(
            "SELECT id FROM run WHERE state IN (SELECT value FROM json_each(:states)) "
            "AND (:owner IS NULL OR account = :owner)",
            {"states": json.dumps([*wanted]), "owner": owner},
        )
    )


def newest_id(execute: Execute, owner: str | None = None) -> int:
    """The id of the newest run, or of an account's newest."""
    found = _newest(execute, owner)
    if found is None or found[0] is None:
        raise RunNotFound("no run yet")
    return int(found[0])


def _newest(execute: Execute, owner: str | None) -> Any:
    if owner is None:
        return execute("SELECT max(id) FROM run").fetchone()
    return execute("SELECT max(id) FROM run WHERE account = ?", (owner,)).fetchone()


def _check_exist(execute: Execute, run_ids: Collection[int], owner: str | None) -> None:
    missing = execute(
        "SELECT value FROM json_each(:ids) WHERE NOT EXISTS (SELECT 1 FROM run "
        "WHERE id = value AND (:owner IS NULL OR account = :owner)) LIMIT 1",
        {"ids": json.dumps([*run_ids]), "owner": owner},
    ).fetchone()
    if missing is not None:
        raise RunNotFound(f"no run {missing[0]}")


def intervals(
    execute: Execute, selection: Selection | None, owner: str | None = None
) -> list[tuple[int, int]]:
    """The ids of a selection as disjoint intervals, the newest first."""
    if selection is None or selection.all:
        return [(1, MAX_RUN_ID)]
    parts = [*selection.ranges, *((run_id, run_id) for run_id in selection.ids)]
    if selection.last:
        newest = _newest(execute, owner)
        parts += [(last, last) for (last,) in [newest or (None,)] if last is not None]
    merged: list[tuple[int, int]] = []
    for low, high in sorted(parts):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged[::-1]


def _page_query(
    states: Collection[RunState],
    outcomes: Collection[Outcome],
    queue: str | None,
    owner: str | None,
) -> str | None:
    """The query of one page; each state and outcome is a walk of its own along `run_state`.

    None: nothing can match.
    """
    matches = "id BETWEEN :low AND :high" + (" AND queue = :queue" if queue is not None else "")
    matches += " AND account = :owner" if owner is not None else ""
    order = "ORDER BY id DESC LIMIT :limit"
    if not states and not outcomes:
        return f"{SELECT_RUN} WHERE {matches} {order}"
    walks = [f"{SELECT_RUN} WHERE {which} AND {matches}" for which in _conditions(states, outcomes)]
    return " UNION ALL ".join(walks) + f" {order}" if walks else None


def _conditions(states: Collection[RunState], outcomes: Collection[Outcome]) -> list[str]:
    """What fixes state and outcome, so that the ids of each are in order in the index."""
    ended = [f"state = 'ended' AND outcome = '{outcome}'" for outcome in outcomes or Outcome]
    waiting = [f"state = '{state}' AND outcome IS NULL" for state in states]
    return [
        *(ended if not states or RunState.ENDED in states else []),
        *([] if outcomes else waiting),
    ]
