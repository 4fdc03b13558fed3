"""Submissions: all of a batch or none, each key once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

from intendant.errors import (
    Busy,
    IllegalTransition,
    InvalidRequest,
    KeyConflict,
    unknown_queue,
)
from intendant.protocol.bulk import uncollected_if
from intendant.protocol.pipelines import ContinueOrder, PipelineSpec, continued, parent_of
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.specs import MAX_SPEC_BYTES, RunSpec, Secrets, Submission, Workload
from intendant.protocol.study import StudySpec, gone_on
from intendant.store.cells import Cell
from intendant.store.dependents import left_by_origins, only_waits, settle
from intendant.store.queries import secrets_of
from intendant.store.rows import RunRow, detail_of, keep_spec, new_row, spec_sha256
from intendant.store.transaction import Transaction


def submit(
    tx: Transaction,
    runs: Sequence[Submission],
    *,
    account: str,
    environment: str | None = None,
    limit: int | None = None,
    for_parents: bool = False,
) -> list[int]:
    """The ids, in order; a key that is known gives the id that it had.

    `environment` is that of each run that brings none of its own. `Busy` if more than `limit` runs
    of the account would wait. `for_parents`: what carries out a step of a run, by its key, belongs
    to that run's account and is as restartable as that.
    """
    run_ids: list[int] = []
    fresh: dict[int, RunSpec] = {}
    owners: set[str] = set()
    for one in runs:
        submission, owner = _as_step(tx, one, account) if for_parents else (one, account)
        run_id = _known_id(tx, submission, owner)
        if run_id is None:
            run_id = _insert(tx, submission, owner, environment)
            fresh[run_id] = _unbound(submission.spec)
            owners.add(owner)
        run_ids.append(run_id)
    for owner in owners:
        _check_waiting(tx, owner, limit)
    named = {run.spec.name: run_id for run, run_id in zip(runs, run_ids, strict=True)}
    for run_id, spec in fresh.items():
        _depend(tx, run_id, spec, [named[name] for name in dict.fromkeys(spec.after)])
    return run_ids


def _as_step(tx: Transaction, submission: Submission, account: str) -> tuple[Submission, str]:
    """The submission as one of the pipeline whose step it carries out, if it does; and whose."""
    parent_id = parent_of(submission.submission_key or "")
    if parent_id is None:
        return submission, account
    if tx.execute("SELECT kind FROM run WHERE id = ?", (parent_id,)).fetchall() != [("pipeline",)]:
        return submission, account
    parent = tx.run(parent_id)
    if parent.state is RunState.ENDED:
        raise IllegalTransition(f"run {parent_id} has ended: none of its steps may start")
    spec = submission.spec.model_copy(update={"restartable": parent.spec.restartable})
    return submission.model_copy(update={"spec": spec}), parent.account


def retry(
    tx: Transaction,
    run_ids: Sequence[int],
    *,
    account: str,
    key: str | None = None,
    limit: int | None = None,
    continuing: ContinueOrder | None = None,
    nothing_done: Collection[int] = (),
) -> list[int]:
    """The ids of new runs with the specs and secrets of these, which must have ended.

    A key that is known gives the ids that it had. A new run comes after the new ones of those that
    the old one came after. What that came after besides counts as done, and a hold as lifted:
    whoever asks for a retry wants it to run. `continuing`: pipelines keep what they have done; of
    those in `nothing_done` what they have gone on from counts.
    """
    prefix = None if key is None else f"retry/{hashlib.sha256(key.encode()).hexdigest()}/"
    if prefix is not None and (known_ids := _ids_with_prefix(tx, prefix, account)):
        return known_ids
    old_runs = [tx.run(run_id) for run_id in sorted(set(run_ids))]
    if continuing is not None:
        _require_one_that_goes_on(old_runs)
    parents = {old.id: _parents(tx, old, among=run_ids) for old in old_runs}
    new_ids: dict[int, int] = {}
    specs: dict[int, RunSpec] = {}
    for old in old_runs:
        workload = _work_again(old, continuing, has_done=old.id not in nothing_done)
        again = _again(tx, old, parents[old.id], prefix, workload)
        new_ids[old.id], specs[old.id] = _insert(tx, again, account), again.spec
    _check_waiting(tx, account, limit)
    for old_id, run_id in new_ids.items():
        _depend(tx, run_id, specs[old_id], [new_ids[parent.id] for parent in parents[old_id]])
    return list(new_ids.values())


def _check_waiting(tx: Transaction, account: str, limit: int | None) -> None:
    if limit is None:
        return
    [(waiting,)] = tx.execute(
        "SELECT waiting FROM account_count WHERE account = ?", (account,)
    ).fetchall()
    if waiting > limit:
        raise Busy(f"{waiting} runs of {account} would wait; at most {limit} may (max_queued)")


def _ids_with_prefix(tx: Transaction, prefix: str, account: str) -> list[int]:
    """The runs whose keys begin with `prefix`, which ends in a slash: `0` comes next to it."""
    rows = tx.execute(
        "SELECT id FROM run WHERE account = ? AND submission_key >= ? AND submission_key < ? "
        "ORDER BY id",
        (account, prefix, f"{prefix[:-1]}0"),
    )
    return [run_id for (run_id,) in rows]


def _again(
    tx: Transaction,
    old: RunRow,
    parents: list[RunRow],
    prefix: str | None,
    workload: Workload,
) -> Submission:
    if old.state is not RunState.ENDED:
        raise IllegalTransition(f"run {old.id} is {old.state}; expected one that has ended")
    after = [str(parent.name) for parent in parents]
    changes = {"retry_of": old.id, "after": after, "hold": False}
    spec = old.spec.model_copy(update={**changes, "workload": workload})
    return Submission(
        spec=spec,
        secrets=secrets_of(tx.execute, old.id),
        submission_key=None if prefix is None else f"{prefix}{old.id}",
    )


def _require_one_that_goes_on(old_runs: Sequence[RunRow]) -> None:
    """Others begin anew beside it."""
    kinds = {old.spec.workload.kind for old in old_runs}
    if old_runs and not kinds & {"pipeline", "study"}:
        raise InvalidRequest(
            f"run {old_runs[0].id} is a {old_runs[0].spec.workload.kind}; "
            "only a pipeline or a study goes on"
        )


def _work_again(old: RunRow, continuing: ContinueOrder | None, *, has_done: bool) -> Workload:
    """What the run did, from its beginning; or from where a pipeline or a study got to."""
    workload = old.spec.workload
    if isinstance(workload, StudySpec):
        return _study_again(old, workload, continuing, has_done=has_done)
    if not isinstance(workload, PipelineSpec):
        return workload
    if continuing is None:
        return workload.model_copy(update={"continues": None})
    try:
        return continued(workload, old.id, continuing, has_done=has_done)
    except ValueError as error:  # what is wrong with the graph, if its parameters were changed
        raise InvalidRequest(f"run {old.id} can't go on so: {error}") from error


def _study_again(
    old: RunRow, study: StudySpec, continuing: ContinueOrder | None, *, has_done: bool
) -> StudySpec:
    if continuing is None:
        return gone_on(study, None)
    if continuing.rerun or continuing.parameters or continuing.step_parameters:
        raise InvalidRequest(f"run {old.id} is a study, which has neither steps nor parameters")
    return gone_on(study, old.id) if has_done else study


def _parents(tx: Transaction, run: RunRow, *, among: Sequence[int]) -> list[RunRow]:
    """Those of `among` that the run came after."""
    rows = tx.execute(
        "SELECT on_run_id FROM dependency WHERE run_id = ? ORDER BY on_run_id", (run.id,)
    ).fetchall()
    found = [tx.run(parent_id) for (parent_id,) in rows if parent_id in among]
    return [parent for parent in found if not only_waits(run, parent)]


def _unbound(spec: RunSpec) -> RunSpec:
    """The spec, trying no run again: whose run that is, is asked of `retry` alone."""
    return spec if spec.retry_of is None else spec.model_copy(update={"retry_of": None})


def _known_id(tx: Transaction, submission: Submission, account: str) -> int | None:
    """The run that has this key already; `KeyConflict` if its spec is another."""
    key = submission.submission_key
    if key is None:
        return None
    found = tx.execute(
        "SELECT id, spec FROM run WHERE account = ? AND submission_key = ?", (account, key)
    ).fetchone()
    if found is None:
        return None
    run_id: int = found[0]
    if RunSpec.model_validate_json(found[1]) != submission.spec:
        raise KeyConflict(f"the submission key {key!r} belongs to run {run_id}, whose spec differs")
    return run_id


def _insert(
    tx: Transaction, submission: Submission, account: str, environment: str | None = None
) -> int:
    spec = submission.spec
    _check_queue(tx, spec.queue)
    if isinstance(spec.workload, PipelineSpec):
        for queue, step in spec.workload.queues().items():
            _check_queue(tx, queue, f"step {step!r}: queue: ")
    columns: dict[str, Cell] = {
        "account": account,
        "submission_key": submission.submission_key,
        "name": spec.name,
        "kind": spec.kind,
        "queue": spec.queue,
        "priority": spec.priority,
        "submitted_at": tx.now(),
    }
    state = RunState.HELD if spec.hold else RunState.QUEUED
    with uncollected_if(isinstance(spec.workload, PipelineSpec)):
        text = spec.model_dump_json(exclude_defaults=True)
    _check_size(text)
    [(run_id,)] = tx.execute(
        "INSERT INTO run (account, submission_key, name, kind, queue, priority, submitted_at, "
        "state, spec, only_waits) VALUES (:account, :submission_key, :name, :kind, :queue, "
        ":priority, :submitted_at, :state, :spec, :only_waits) RETURNING id",
        {**columns, "state": state, "spec": text, "only_waits": not spec.holds_slot},
    ).fetchall()
    _insert_secrets(tx, run_id, submission.secrets, environment)
    keep_spec(text, spec)
    row = new_row(columns, run_id=run_id, state=state, spec=spec)
    tx.begin(row, detail_of({**columns, "spec_sha256": spec_sha256(text)}))
    return row.id


def _check_size(text: str) -> None:
    """Refuse a spec that would not fit into answers."""
    size = len(text.encode())
    if size > MAX_SPEC_BYTES:
        raise InvalidRequest(
            f"the spec has {size} bytes as JSON; at most {MAX_SPEC_BYTES} are taken: "
            "data belongs into files"
        )


def _check_queue(tx: Transaction, name: str, where: str = "") -> None:
    if tx.execute("SELECT 1 FROM queue WHERE name = ?", (name,)).fetchone() is None:
        known = tx.execute("SELECT name FROM queue ORDER BY name")
        raise unknown_queue(name, [queue for (queue,) in known], where)


def _insert_secrets(
    tx: Transaction, run_id: int, secrets: Secrets, environment: str | None
) -> None:
    """Keep what the run brings, and the environment that it has with others if it brings none."""
    if secrets.environment is not None:
        environment = secrets.environment
    if environment is None and not secrets.env and secrets.pickle is None:
        return
    tx.execute(
        "INSERT INTO secret (run_id, environment_id, env, pickle) VALUES (?, ?, ?, ?)",
        (run_id, _environment_id(tx, environment), json.dumps(secrets.env), secrets.pickle),
    )


def _environment_id(tx: Transaction, environment: str | None) -> int | None:
    """Where this environment is kept; the same text is kept once."""
    if environment is None:
        return None
    digest = hashlib.sha256(environment.encode()).digest()
    found = tx.execute("SELECT id FROM environment WHERE sha256 = ?", (digest,)).fetchone()
    if found is None:
        found = tx.execute(
            "INSERT INTO environment (sha256, body) VALUES (?, ?) RETURNING id",
            (digest, environment),
        ).fetchall()[0]
    return int(found[0])


def _depend(tx: Transaction, run_id: int, spec: RunSpec, on_run_ids: list[int]) -> None:
    """Let the run wait for others of its batch, which may have ended if their keys were known.

    A pipeline that does another one's steps again waits for what is left of those as well.
    """
    parents = {row.id: row for row in left_by_origins(tx, spec)}
    parents |= {on_run_id: tx.run(on_run_id) for on_run_id in on_run_ids}
    if not parents:
        return
    for parent_id in parents:
        tx.execute("INSERT INTO dependency VALUES (?, ?)", (run_id, parent_id))
    tx.execute(
        "UPDATE run SET open_dependencies = ? WHERE id = ?",
        (sum(parent.state is not RunState.ENDED for parent in parents.values()), run_id),
    )
    settle(tx, [p for p in parents.values() if p.outcome not in (None, Outcome.SUCCEEDED)])
