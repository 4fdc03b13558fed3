"""Submissions: all of a batch or none, each key once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from intendant.errors import KeyConflict, QueueNotFound
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.specs import RunSpec, Secrets, Submission
from intendant.store.dependents import settle
from intendant.store.rows import Cell, detail_of, new_row, spec_sha256
from intendant.store.transaction import Transaction


def submit(tx: Transaction, runs: Sequence[Submission], *, account: str) -> list[int]:
    """The ids, in order; a key that is known gives the id that it had."""
    run_ids: list[int] = []
    fresh: dict[int, list[str]] = {}
    for submission in runs:
        run_id = _known_id(tx, submission, account)
        if run_id is None:
            run_id = _insert(tx, submission, account)
            fresh[run_id] = submission.spec.after
        run_ids.append(run_id)
    named = {run.spec.name: run_id for run, run_id in zip(runs, run_ids, strict=True)}
    for run_id, after in fresh.items():
        _depend(tx, run_id, [named[name] for name in dict.fromkeys(after)])
    return run_ids


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


def _insert(tx: Transaction, submission: Submission, account: str) -> int:
    spec = submission.spec
    _check_queue(tx, spec.queue)
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
    text = spec.model_dump_json()
    [(run_id,)] = tx.execute(
        "INSERT INTO run (account, submission_key, name, kind, queue, priority, submitted_at, "
        "state, spec) VALUES (:account, :submission_key, :name, :kind, :queue, :priority, "
        ":submitted_at, :state, :spec) RETURNING id",
        {**columns, "state": state, "spec": text},
    ).fetchall()
    _insert_secrets(tx, run_id, submission.secrets)
    row = new_row(columns, run_id=run_id, state=state, spec=spec)
    tx.begin(row, detail_of({**columns, "spec_sha256": spec_sha256(text)}))
    return row.id


def _check_queue(tx: Transaction, name: str) -> None:
    known = [queue for (queue,) in tx.execute("SELECT name FROM queue ORDER BY name").fetchall()]
    if name not in known:
        raise QueueNotFound(f"no queue {name!r}; there are {', '.join(map(str, known))}")


def _insert_secrets(tx: Transaction, run_id: int, secrets: Secrets) -> None:
    if secrets.environment is None and not secrets.env:
        return
    tx.execute(
        "INSERT INTO secret (run_id, environment_id, env) VALUES (?, ?, ?)",
        (run_id, _environment_id(tx, secrets.environment), json.dumps(secrets.env)),
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


def _depend(tx: Transaction, run_id: int, on_run_ids: list[int]) -> None:
    """Let the run wait for others of its batch, which may have ended if their keys were known."""
    if not on_run_ids:
        return
    parents = [tx.run(on_run_id) for on_run_id in on_run_ids]
    for parent in parents:
        tx.execute("INSERT INTO dependency VALUES (?, ?)", (run_id, parent.id))
    tx.execute(
        "UPDATE run SET open_dependencies = ? WHERE id = ?",
        (sum(parent.state is not RunState.ENDED for parent in parents), run_id),
    )
    settle(tx, [p for p in parents if p.outcome not in (None, Outcome.SUCCEEDED)])
