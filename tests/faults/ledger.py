"""What the store is to do, in memory and in a hundred lines: the model its test compares it to.

Everything that a change means stands here once more, without SQL, rows or events; only the retry
policy's own arithmetic (`protocol.retry`) is taken as it is, since it has tests of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from intendant.errors import (
    IllegalTransition,
    KeyConflict,
    QueueNotFound,
    RunNotFound,
    StaleAttempt,
)
from intendant.protocol.retry import counts_as_try, launch_delay_s, retry_delay_s
from intendant.protocol.run_states import LIVE, Outcome, RunState
from intendant.protocol.specs import RunSpec, Submission

S = RunState


@dataclass
class Attempt:
    """One launch of a run."""

    is_started: bool = False
    has_ended: bool = False


@dataclass
class Run:
    """One run."""

    id: int
    spec: RunSpec
    state: RunState
    priority: int
    parents: list[Run] = field(default_factory=list)
    outcome: Outcome | None = None
    attempts: list[Attempt] = field(default_factory=list)
    stop: Outcome | None = None
    tries: int = 0
    burnt: int = 0
    not_before: datetime | None = None
    ended_at: datetime | None = None
    """For whoever keeps the ledger to say."""

    @property
    def waits_for_others(self) -> bool:
        return any(parent.state is not S.ENDED for parent in self.parents)

    @property
    def is_doomed(self) -> bool:
        """Whether one that it comes after has ended, and not well."""
        return any(parent.outcome not in (None, Outcome.SUCCEEDED) for parent in self.parents)

    def may_start(self, now: datetime) -> bool:
        is_ripe = self.not_before is None or self.not_before <= now
        return self.state is S.QUEUED and is_ripe and not self.waits_for_others

    def attempt(self, number: int) -> Attempt:
        if not 1 <= number <= len(self.attempts):
            raise StaleAttempt
        return self.attempts[number - 1]

    def end(self, outcome: Outcome) -> None:
        self.state, self.outcome = S.ENDED, outcome

    def queue_again(self, not_before: datetime | None) -> None:
        self.state, self.not_before, self.stop = S.QUEUED, not_before, None


class Ledger:
    """All runs. A method that raises leaves half-done things: keep a copy."""

    def __init__(self) -> None:
        self.runs: dict[int, Run] = {}
        self.keys: dict[str, Run] = {}
        self.retries: dict[str, list[Run]] = {}
        self.queues = {"default": False}
        """By name, whether it is paused."""
        self.last_id = 0

    # --- what is asked of it ---------------------------------------------------------------------

    def submit(self, batch: Sequence[Submission]) -> list[int]:
        runs = [self._known_or_new(submission) for submission in batch]
        named = {run.spec.name: run for run in runs}
        for run in runs:
            run.parents = run.parents or [named[name] for name in run.spec.after if name in named]
        self._end_the_doomed()
        return [run.id for run in runs]

    def grant(self, run_id: int, number: int) -> None:
        run = self.runs[run_id]
        if number != len(run.attempts) + 1:
            raise StaleAttempt
        if run.state is not S.QUEUED or run.waits_for_others or self.queues[run.spec.queue]:
            raise IllegalTransition
        run.attempts.append(Attempt())
        run.state, run.not_before = S.STARTING, None

    def started(self, run_id: int, number: int) -> None:
        run = self.runs[run_id]
        attempt = run.attempt(number)
        if number != len(run.attempts):
            raise StaleAttempt
        if not (attempt.is_started or attempt.has_ended):
            attempt.is_started = True
            run.burnt = 0
            run.state = S.RUNNING if run.state is S.STARTING else run.state

    def ended(
        self, run_id: int, number: int, outcome: Outcome, *, daemon_lost: bool, now: datetime
    ) -> None:
        run = self.runs[run_id]
        attempt = run.attempt(number)
        if attempt.has_ended:
            return
        attempt.has_ended = True
        run.burnt = 0
        stopped_by = run.stop or (Outcome.INTERRUPTED if daemon_lost else None)
        run.tries += counts_as_try(outcome, stopped_by=stopped_by)
        delay_s = retry_delay_s(run.spec, outcome, stopped_by=stopped_by, tries=run.tries)
        if delay_s is not None:
            run.queue_again(now + timedelta(seconds=delay_s) if delay_s else None)
            return
        is_cancelled = run.stop is Outcome.CANCELLED and outcome is Outcome.INTERRUPTED
        run.end(Outcome.CANCELLED if is_cancelled else outcome)
        self._end_the_doomed()

    def tombstoned(self, run_id: int, number: int, *, daemon_lost: bool, now: datetime) -> None:
        run = self.runs[run_id]
        attempt = run.attempt(number)
        if attempt.has_ended:
            return
        if attempt.is_started:
            raise IllegalTransition
        attempt.has_ended = True
        if run.stop is Outcome.CANCELLED:
            run.end(Outcome.CANCELLED)
        elif run.stop is Outcome.INTERRUPTED or daemon_lost:
            run.queue_again(None)
        else:
            self._burn(run, now)
        self._end_the_doomed()

    def request_stop(self, run_ids: Sequence[int], outcome: Outcome) -> None:
        for run in map(self.runs.__getitem__, run_ids):
            if run.state in LIVE:
                run.state = S.STOPPING
                run.stop = Outcome.CANCELLED if run.stop is Outcome.CANCELLED else outcome
            elif run.state is not S.ENDED and outcome is Outcome.CANCELLED:
                run.end(outcome)
        self._end_the_doomed()

    def hold(self, run_id: int) -> None:
        self._move(run_id, to=S.HELD)

    def release(self, run_id: int) -> None:
        self._move(run_id, to=S.QUEUED)

    def set_priority(self, run_id: int, priority: int) -> None:
        run = self.runs[run_id]
        if run.state is S.ENDED:
            raise IllegalTransition
        run.priority = priority

    def queue_set(self, name: str) -> None:
        self.queues.setdefault(name, False)

    def queue_pause(self, name: str, paused: bool) -> None:
        if name not in self.queues:
            raise QueueNotFound
        self.queues[name] = paused

    def retry(self, run_ids: Sequence[int], key: str | None) -> list[int]:
        """New runs of these; they come after each other as the old ones did."""
        if key is not None and (known := self._kept(self.retries.get(key, []))):
            return [run.id for run in known]
        old_runs = [self._known(run_id) for run_id in sorted(set(run_ids))]
        if any(old.state is not S.ENDED for old in old_runs):
            raise IllegalTransition
        new = {old.id: self._new(old.spec, S.QUEUED) for old in old_runs}
        for old in old_runs:
            new[old.id].parents = [new[one.id] for one in self._kept(old.parents) if one.id in new]
        if key is not None:
            self.retries[key] = list(new.values())
        return [run.id for run in new.values()]

    def prune(self, run_ids: Sequence[int], before: datetime) -> list[int]:
        """Forget those that ended by then, and that nobody waits for."""
        awaited = {
            parent.id
            for run in self.runs.values()
            if run.state is not S.ENDED
            for parent in run.parents
        }
        old = {run.id for run in self.runs.values() if run.ended_at and run.ended_at <= before}
        gone = sorted(old & set(run_ids) - awaited)
        for run_id in gone:
            del self.runs[run_id]
        self.keys = {key: run for key, run in self.keys.items() if run.id in self.runs}
        return gone

    # --- what can be seen of it ------------------------------------------------------------------

    def candidates(self, queue: str, now: datetime) -> list[int]:
        """Who may start now, in the order in which they do (invariant I11)."""
        waiting = [run for run in self.runs.values() if run.may_start(now)]
        turn = sorted(waiting, key=lambda run: (-run.priority, run.id))
        return [run.id for run in turn if run.spec.queue == queue]

    def live(self) -> Iterator[Run]:
        return (run for run in self.runs.values() if run.state in LIVE)

    # --- pieces ----------------------------------------------------------------------------------

    def _known_or_new(self, submission: Submission) -> Run:
        spec, key = submission.spec, submission.submission_key
        if key is not None and key in self.keys:
            if self.keys[key].spec != spec:
                raise KeyConflict
            return self.keys[key]
        if spec.queue not in self.queues:
            raise QueueNotFound
        state = S.HELD if spec.hold else S.QUEUED
        run = self._new(spec, state)
        if key is not None:
            self.keys[key] = run
        return run

    def _new(self, spec: RunSpec, state: RunState) -> Run:
        self.last_id += 1
        run = self.runs[self.last_id] = Run(self.last_id, spec, state, spec.priority)
        return run

    def _known(self, run_id: int) -> Run:
        if run_id not in self.runs:
            raise RunNotFound
        return self.runs[run_id]

    def _kept(self, runs: Sequence[Run]) -> list[Run]:
        """Those that are not forgotten."""
        return [run for run in runs if run.id in self.runs]

    def _burn(self, run: Run, now: datetime) -> None:
        run.burnt += 1
        delay_s = launch_delay_s(run.burnt)
        if delay_s is None:
            run.end(Outcome.FAILED)
        else:
            run.queue_again(now + timedelta(seconds=delay_s))

    def _move(self, run_id: int, *, to: RunState) -> None:
        run = self.runs[run_id]
        if run.state not in (S.HELD, S.QUEUED):
            raise IllegalTransition
        run.state = to

    def _end_the_doomed(self) -> None:
        while doomed := [r for r in self.runs.values() if r.state is not S.ENDED and r.is_doomed]:
            for run in doomed:
                run.end(Outcome.INTERRUPTED)
