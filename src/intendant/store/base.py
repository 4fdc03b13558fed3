"""What the executor asks of a store, whatever keeps the rows.

Every method that changes something returns after the change is on disk. Each is one transaction,
moves runs through `run_states.after` alone, and appends an event for every change, so that
replaying a run's events gives its row. Times are aware datetimes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from intendant.protocol.pipelines import ContinueOrder
from intendant.protocol.records import (
    AttemptRecord,
    EventRecord,
    QueueRecord,
    RunRecord,
    StepRecord,
    UnreadableRun,
)
from intendant.protocol.run_states import Outcome, RunNote, RunState
from intendant.protocol.selectors import Selection
from intendant.protocol.specs import Secrets, Submission


@dataclass(frozen=True, slots=True)
class Grant:
    """What a start request needs."""

    run: RunRecord
    secrets: Secrets = field(repr=False)


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt that had a governor ended, its tree verified empty.

    `daemon_lost`: the end of the daemon or of its machine took the attempt down, which is nobody's
    failure (see `protocol.retry`).
    """

    outcome: Outcome
    reason: str | None
    exit_code: int | None
    signal: int | None
    started_at: datetime | None
    finished_at: datetime
    steps: Sequence[StepRecord] = ()
    daemon_lost: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """Where each run of a request is now, and the ids that the request had an effect on."""

    runs: list[RunRecord]
    changed: list[int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that may start; `attempt` is its last one, 0 before the first."""

    run_id: int
    attempt: int
    queue: str
    priority: int
    only_waits: bool = False
    """Whether it only waits for runs of its own, and holds no slot."""


@dataclass(frozen=True, slots=True)
class LiveAttempt:
    """A run that has an attempt, and what recovery must know of it."""

    run: RunRecord
    token_sha256: str
    stop_outcome: Outcome | None
    stop_reason: str | None
    burnt: int


MANY_AHEAD = 1000
"""Where counting the runs that come first ends."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the store knows of why a run is where it is."""

    run: RunRecord
    since: datetime
    """When it came into its state."""
    not_before: datetime | None
    """The end of its back-off."""
    waits_for: list[tuple[int, RunState]]
    """The runs that have to end before it, and where they are."""
    stop_reason: str | None
    last_attempt: AttemptRecord | None
    """The newest attempt."""
    notes: Mapping[str, datetime]
    """When each thing was noted of the newest attempt, the last time."""
    blamed: int | None
    """The run without whose success it could not start."""
    ahead: Mapping[str, int]
    """For each queue, how many runs that could start come before it; at most `MANY_AHEAD`."""


@dataclass(frozen=True, slots=True)
class PrunePage:
    """Runs that may be forgotten, and where the next page begins; `None`: this was the last."""

    run_ids: list[int]
    next_after_id: int | None


class Store(Protocol):
    """The durable queue. Refusals are `RequestRefused`, troubles of the disk `StoreError`."""

    async def close(self) -> None:
        """Finish what was asked for, then let the database go."""

    async def submit(
        self,
        runs: Sequence[Submission],
        *,
        account: str,
        environment: str | None = None,
        limit: int | None = None,
        for_parents: bool = False,
    ) -> list[int]:
        """Queue all of them or none; a known key with the same spec gives the known id.

        `environment`: of each that brings none of its own, as it travels.
        `for_parents`: what carries out a step of a run, by its key, belongs to that run's account
        and is as restartable as that.

        Here and below: `Busy` if more than `limit` runs of the account would wait.
        """

    async def retry(
        self,
        run_ids: Sequence[int],
        *,
        account: str,
        key: str | None = None,
        limit: int | None = None,
        continuing: ContinueOrder | None = None,
        nothing_done: Collection[int] = (),
    ) -> list[int]:
        """Queue ended runs anew, all or none: new runs that name the old ones."""

    async def grant(self, run_id: int, attempt: int, *, token_sha256: str) -> Grant:
        """Record the intent to launch the run's next attempt."""

    async def started(self, run_id: int, attempt: int, *, at: datetime, pid: int) -> RunRecord:
        """Record that the workload runs; old news change nothing."""

    async def ended(self, run_id: int, attempt: int, *, end: AttemptEnd) -> RunRecord:
        """Record the end, then retry or end the run; a second end changes nothing."""

    async def tombstoned(
        self, run_id: int, attempt: int, *, reason: str, daemon_lost: bool = False
    ) -> RunRecord:
        """Record that the attempt never started and never will.

        `daemon_lost`: the end of the daemon kept it from starting, which is nobody's failure.
        """

    async def request_stop(
        self,
        run_ids: Sequence[int],
        *,
        outcome: Outcome,
        reason: str,
        only_waiting: bool = False,
    ) -> Changed:
        """Record who wants the runs to end: a person (cancelled) or the daemon (interrupted).

        `only_waiting`: leave alone what is live.
        """

    async def hold(self, run_ids: Sequence[int], *, lenient: bool = False) -> Changed:
        """Keep queued runs from starting; `lenient`: leave alone what is no longer queued."""

    async def release(self, run_ids: Sequence[int], *, lenient: bool = False) -> Changed:
        """Let held runs start; `lenient`: leave alone what is no longer held."""

    async def set_priority(self, run_id: int, priority: int) -> Changed:
        """Move the run in its queue."""

    async def note(
        self, run_id: int, attempt: int, *, event: RunNote, detail: dict[str, JsonValue]
    ) -> None:
        """Append an event that changes nothing."""

    async def prune(
        self, run_ids: Sequence[int], *, before: datetime, detail: dict[str, JsonValue]
    ) -> list[int]:
        """Forget those of the runs that ended before then and are not waited for; their ids."""

    async def want_ends(self, *, of_all: bool) -> None:
        """From now on keep the ends of all runs for `take_end`, or of those with `on_end` only."""

    async def take_end(self) -> RunRecord | None:
        """Of the runs that have ended since, the one that has waited longest; each comes once."""

    async def queue_set(self, name: str, *, slots: int | None) -> QueueRecord:
        """Make a queue, or change its slots; `None`: as many as the daemon has."""

    async def queue_pause(self, name: str, paused: bool) -> QueueRecord:
        """Pause or resume a queue."""

    async def queue_remove(self, name: str) -> QueueRecord:
        """Remove a queue that has no runs and is not needed; the queue as it was."""

    async def queues(self) -> list[QueueRecord]:
        """Every queue, by name."""

    async def run(self, run_id: int) -> RunRecord:
        """One run, or `RunNotFound`."""

    async def named(self, run_ids: Sequence[int]) -> list[RunRecord]:
        """These runs, as `run` gives them."""

    async def runs(
        self,
        *,
        states: Collection[RunState] = (),
        outcomes: Collection[Outcome] = (),
        queue: str | None = None,
        selection: Selection | None = None,
        limit: int = 100,
        before_id: int | None = None,
        owner: str | None = None,
    ) -> tuple[list[RunRecord | UnreadableRun], bool]:
        """A page, newest first, and whether there are more; an empty filter means any.

        Here and below: with an `owner`, there are no runs but those of this account.
        """

    async def select(
        self,
        selection: Selection,
        *,
        among_all: Collection[RunState] | None = None,
        owner: str | None = None,
    ) -> list[int]:
        """The ids that a selection means, ascending; `all` is every run in the given states."""

    async def attempts(self, run_id: int) -> list[AttemptRecord]:
        """The run's attempts, oldest first."""

    async def circumstances(self, run_id: int, *, queues: Collection[str]) -> Circumstances:
        """What is known of why the run is where it is; `queues` are those that may start runs."""

    async def candidates(
        self,
        limits: Mapping[str, int],
        *,
        exclude: Collection[int] = (),
        parents: int | None = None,
        of: Collection[int] | None = None,
    ) -> list[Candidate]:
        """For each queue named up to so many runs that may start now, best first over all.

        Beside them up to so many `parents` (of each queue), which only wait for runs of their own;
        `None`: these are runs like others. `of`: only what carries out steps of these runs.
        """

    async def next_eligible_at(self) -> datetime | None:
        """When the next back-off ends."""

    async def live(self) -> list[LiveAttempt]:
        """Every run that has an attempt, by id; who can't be read is left out, and logged."""

    async def grant_info(self, run_id: int) -> Grant:
        """What a live run's start request needs, once more."""

    async def counts(self, *, owner: str | None = None) -> dict[RunState, int]:
        """How many runs are in each state; an owner's alone."""

    async def events(
        self,
        after_id: int,
        *,
        run_ids: Collection[int] = (),
        owner: str | None = None,
        limit: int = 1000,
    ) -> list[EventRecord]:
        """Events after one, oldest first; no ids mean every run."""

    async def logged(self, selection: Selection, *, owner: str | None = None) -> list[int]:
        """The ids of a selection that the log knows, pruned runs among them."""

    async def prunable(
        self,
        selection: Selection | None,
        *,
        before: datetime,
        after_id: int,
        owner: str | None = None,
    ) -> PrunePage:
        """The next runs of a selection that `prune` would take."""

    async def without_row(self, run_ids: Collection[int]) -> list[int]:
        """Those of the ids that no run has."""

    async def last_run_id(self) -> int:
        """The highest id that a run ever had, pruned or not; 0 before the first."""

    async def last_event_id(self) -> int:
        """The id of the newest event; 0 before the first."""
