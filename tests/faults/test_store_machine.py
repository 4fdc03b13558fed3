"""Any sequence of requests, crashes among them: the store does what its model does.

A crash leaves what is in the database's files at that moment: with a request in the middle of its
transaction, or with one that is committed and not yet answered. The next life opens a copy of them.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from intendant.errors import IntendantError
from intendant.protocol.records import RunRecord, UnreadableRun
from intendant.protocol.run_states import LIVE, Outcome, RunState
from intendant.protocol.specs import Submission
from intendant.store.base import AttemptEnd
from intendant.store.sqlite import SqliteStore
from tests.faults.ledger import Ledger
from tests.helpers.stores import TOKEN, ManualClock, check_invariants, submission

QUEUES = ("default", "wide", "narrow")

outcomes = st.sampled_from(Outcome)
likely_outcomes = st.sampled_from([Outcome.SUCCEEDED, Outcome.SUCCEEDED, *Outcome])
numbers = st.integers(0, 23)
"""Which run: see `StoreMachine.run_id`."""
offsets = st.sampled_from([0, 0, 0, 0, -1, 1])
"""Which attempt, counted from the one that is due."""


@st.composite
def batches(draw: st.DrawFn) -> list[Submission]:
    """One to three runs, each after some of those before it."""
    names = ["first", "second", "third"][: draw(st.integers(1, 3))]
    return [
        submission(
            name,
            key=draw(st.sampled_from([None] * 9 + ["a", "b", "c"])),
            queue=draw(st.sampled_from(["default"] * 9 + [*QUEUES])),
            priority=draw(st.integers(-1, 1)),
            hold=draw(st.integers(0, 4)) == 0,
            restartable=draw(st.booleans()),
            retry={"attempts": draw(st.sampled_from([0, 0, 2])), "backoff_s": 1},
            after=[earlier for earlier in names[:at] if draw(st.booleans())],
        )
        for at, name in enumerate(names)
    ]


@dataclass
class CrashClock(ManualClock):
    """A clock that can copy the database when it is next looked at: amid a transaction."""

    database: Path = Path()
    copy_to: Path | None = None

    def __call__(self) -> datetime:
        self.copy()
        return super().__call__()

    def copy(self) -> bool:
        """Keep what a kill would leave now, if that is wanted; whether it was."""
        folder, self.copy_to = self.copy_to, None
        if folder is not None:
            folder.mkdir()
            for file in self.database.parent.glob(f"{self.database.name}*"):
                if not file.name.endswith("-shm"):  # of no worth to the next life
                    shutil.copy(file, folder)
        return folder is not None


class StoreMachine(RuleBasedStateMachine):
    """Requests to a store and to its model, and what must be so after each."""

    @initialize(batch=batches())
    def begin(self, batch: list[Submission]) -> None:
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = CrashClock(database=Path(self.folder.name) / "store.db")
        self.ledger = Ledger()
        self.ended_records: dict[int, RunRecord | UnreadableRun] = {}
        self.lives = 0
        self.crashes_next = False
        self.store = self.opened()
        self.submit(batch)

    def opened(self) -> SqliteStore:
        return self.runner.run(
            SqliteStore.open(self.clock.database, now=self.clock, on_change=lambda _changes: None)
        )

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        check_invariants(self.clock.database)
        self.runner.close()
        self.folder.cleanup()

    def ask(
        self,
        model: Callable[[Ledger], object],
        real: Callable[[SqliteStore], Coroutine[Any, Any, object]],
    ) -> None:
        """Have both do it; they refuse alike, or the answer of both is the same."""
        after = deepcopy(self.ledger)
        expected = answer_of(lambda: model(after))
        for run in after.runs.values():
            if run.state is RunState.ENDED and run.ended_at is None:
                run.ended_at = self.clock.at
        if self.crashes_next:
            self.clock.copy_to = Path(self.folder.name) / f"life-{self.lives}"
        found = answer_of(lambda: self.runner.run(real(self.store)))
        assert found == expected
        is_done = not isinstance(expected, type)
        if self.crashes_next:
            is_done = self.clock.copy() and is_done  # else the kill came amid the transaction
            self.reopen(Path(self.folder.name) / f"life-{self.lives}")
        if is_done:
            self.ledger = after

    def reopen(self, folder: Path) -> None:
        self.runner.run(self.store.close())
        self.crashes_next = False
        self.lives += 1
        self.clock.database = folder / self.clock.database.name
        self.store = self.opened()

    def run_id(self, number: int, *likely: RunState) -> int:
        """A run; three times of four one in the states where the request makes sense."""
        runs = [run for run in self.ledger.runs.values() if run.state in likely]
        if not runs or number % 4 == 0:
            runs = [*self.ledger.runs.values()]
        return runs[-1 - number // 4 % len(runs)].id

    def has_runs(self) -> bool:
        return bool(self.ledger.runs)

    # --- requests --------------------------------------------------------------------------------

    @precondition(lambda machine: not machine.crashes_next)
    @rule()
    def crash_at_the_next_request(self) -> None:
        self.crashes_next = True

    @rule(seconds=st.sampled_from([0.05, 3, 60]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(batch=batches())
    def submit(self, batch: list[Submission]) -> None:
        self.ask(
            lambda ledger: ledger.submit(batch),
            lambda store: store.submit(batch, account="ada"),
        )

    @precondition(has_runs)
    @rule(queue=st.sampled_from(QUEUES), outcome=outcomes, daemon_lost=st.booleans())
    def go_on(self, queue: str, outcome: Outcome, daemon_lost: bool) -> None:
        """What comes next in an ordinary life: every live run a step ahead, and one more start."""
        for run in list(self.ledger.live()):
            if run.attempts[-1].is_started:
                self.end_attempt(run.id, len(run.attempts), outcome, daemon_lost=daemon_lost)
            else:
                self.start_attempt(run.id, len(run.attempts))
        for run_id in self.ledger.candidates(queue, self.clock.at)[:1]:
            self.grant_attempt(run_id, len(self.ledger.runs[run_id].attempts) + 1)

    @precondition(has_runs)
    @rule(outcomes=st.lists(likely_outcomes, min_size=1, max_size=3))
    def live_on(self, outcomes: list[Outcome]) -> None:
        """Whole lives, one after another, of whoever is next."""
        for outcome in outcomes:
            for queue in sorted(name for name, paused in self.ledger.queues.items() if not paused):
                for run_id in self.ledger.candidates(queue, self.clock.at)[:1]:
                    attempt = len(self.ledger.runs[run_id].attempts) + 1
                    self.grant_attempt(run_id, attempt)
                    self.start_attempt(run_id, attempt)
                    self.end_attempt(run_id, attempt, outcome, daemon_lost=False)

    @precondition(has_runs)
    @rule(number=numbers, offset=offsets)
    def grant(self, number: int, offset: int) -> None:
        run_id = self.run_id(number, RunState.QUEUED)
        self.grant_attempt(run_id, len(self.ledger.runs[run_id].attempts) + 1 + offset)

    def grant_attempt(self, run_id: int, attempt: int) -> None:
        self.ask(
            lambda ledger: ledger.grant(run_id, attempt),
            lambda store: done(store.grant(run_id, attempt, token_sha256=TOKEN)),
        )

    @precondition(has_runs)
    @rule(number=numbers, offset=offsets)
    def start(self, number: int, offset: int) -> None:
        run_id = self.run_id(number, *LIVE)
        self.start_attempt(run_id, len(self.ledger.runs[run_id].attempts) + offset)

    def start_attempt(self, run_id: int, attempt: int) -> None:
        self.ask(
            lambda ledger: ledger.started(run_id, attempt),
            lambda store: done(store.started(run_id, attempt, at=self.clock.at, pid=4711)),
        )

    @precondition(has_runs)
    @rule(number=numbers, offset=offsets, outcome=outcomes, daemon_lost=st.booleans())
    def end(self, number: int, offset: int, outcome: Outcome, daemon_lost: bool) -> None:
        run_id = self.run_id(number, *LIVE)
        attempt = len(self.ledger.runs[run_id].attempts) + offset
        self.end_attempt(run_id, attempt, outcome, daemon_lost=daemon_lost)

    def end_attempt(
        self, run_id: int, attempt: int, outcome: Outcome, *, daemon_lost: bool
    ) -> None:
        now = self.clock.at
        end = AttemptEnd(outcome, "told", None, None, None, now, daemon_lost=daemon_lost)
        self.ask(
            lambda ledger: ledger.ended(run_id, attempt, outcome, daemon_lost=daemon_lost, now=now),
            lambda store: done(store.ended(run_id, attempt, end=end)),
        )

    @precondition(has_runs)
    @rule(number=numbers, offset=offsets, daemon_lost=st.booleans())
    def bury(self, number: int, offset: int, daemon_lost: bool) -> None:
        run_id = self.run_id(number, *LIVE)
        attempt = len(self.ledger.runs[run_id].attempts) + offset
        self.ask(
            lambda ledger: ledger.tombstoned(
                run_id, attempt, daemon_lost=daemon_lost, now=self.clock.at
            ),
            lambda store: done(
                store.tombstoned(run_id, attempt, reason="no governor", daemon_lost=daemon_lost)
            ),
        )

    @precondition(has_runs)
    @rule(
        numbers=st.lists(numbers, min_size=1, max_size=3),
        outcome=st.sampled_from([Outcome.CANCELLED, Outcome.INTERRUPTED]),
    )
    def stop(self, numbers: list[int], outcome: Outcome) -> None:
        run_ids = [self.run_id(number) for number in numbers]
        self.ask(
            lambda ledger: ledger.request_stop(run_ids, outcome),
            lambda store: done(store.request_stop(run_ids, outcome=outcome, reason="asked")),
        )

    @precondition(has_runs)
    @rule(number=numbers)
    def hold(self, number: int) -> None:
        run_id = self.run_id(number, RunState.QUEUED)
        self.ask(lambda ledger: ledger.hold(run_id), lambda store: done(store.hold([run_id])))

    @precondition(has_runs)
    @rule(number=numbers)
    def release(self, number: int) -> None:
        run_id = self.run_id(number, RunState.HELD)
        self.ask(lambda ledger: ledger.release(run_id), lambda store: done(store.release([run_id])))

    @precondition(has_runs)
    @rule(number=numbers, priority=st.integers(-2, 2))
    def prioritize(self, number: int, priority: int) -> None:
        run_id = self.run_id(number, RunState.QUEUED)
        self.ask(
            lambda ledger: ledger.set_priority(run_id, priority),
            lambda store: done(store.set_priority(run_id, priority)),
        )

    @precondition(lambda machine: len(machine.ledger.queues) < len(QUEUES))
    @rule()
    def make_a_queue(self) -> None:
        name = QUEUES[len(self.ledger.queues)]
        self.ask(
            lambda ledger: ledger.queue_set(name),
            lambda store: done(store.queue_set(name, slots=1)),
        )

    @precondition(has_runs)
    @rule(name=st.sampled_from(QUEUES), paused=st.booleans())
    def pause(self, name: str, paused: bool) -> None:
        self.ask(
            lambda ledger: ledger.queue_pause(name, paused),
            lambda store: done(store.queue_pause(name, paused)),
        )

    @precondition(has_runs)
    @rule(
        numbers=st.lists(numbers, min_size=1, max_size=3),
        key=st.sampled_from([None, None, "a", "b"]),
    )
    def retry(self, numbers: list[int], key: str | None) -> None:
        run_ids = [self.run_id(number, RunState.ENDED) for number in numbers]
        self.ask(
            lambda ledger: ledger.retry(run_ids, key),
            lambda store: store.retry(run_ids, account="ada", key=key),
        )

    @precondition(has_runs)
    @rule(age_s=st.sampled_from([0, 0, 30]), at_least=st.integers(1, 4))
    def prune(self, age_s: int, at_least: int) -> None:
        run_ids = [run_id for run_id in self.ledger.runs if run_id >= at_least]
        before = self.clock.at - timedelta(seconds=age_s)
        self.ask(
            lambda ledger: ledger.prune(run_ids, before),
            lambda store: store.prune(run_ids, before=before, detail={}),
        )

    # --- what must be so -------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_and_what_has_ended_stays_as_it_is(self) -> None:
        records, has_more = self.runner.run(self.store.runs(limit=1000))
        assert not has_more
        assert {record.id for record in records} == self.ledger.runs.keys()
        for record in records:
            run = self.ledger.runs[record.id]
            seen = (record.state, record.outcome, record.attempt, record.priority)
            assert seen == (run.state, run.outcome, len(run.attempts), run.priority)
            if record.state is RunState.ENDED:
                assert self.ended_records.setdefault(record.id, record) == record

    @invariant()
    def attempts_are_numbered_without_a_gap(self) -> None:
        for run in list(self.ledger.runs.values())[-2:]:
            attempts = self.runner.run(self.store.attempts(run.id))
            assert [known.attempt for known in attempts] == [*range(1, len(run.attempts) + 1)]
            ended = [known.finished_at is not None for known in attempts]
            assert ended == [attempt.has_ended for attempt in run.attempts]

    @invariant()
    def the_next_to_start_is_the_first_of_the_highest(self) -> None:
        limits = {queue: limit for limit, queue in enumerate(QUEUES, start=1)}
        found = self.runner.run(self.store.candidates(limits))
        for queue, limit in limits.items():
            turn = self.ledger.candidates(queue, self.clock.at)
            assert [one.run_id for one in found if one.queue == queue] == turn[:limit]
        assert found == sorted(found, key=lambda one: (-one.priority, one.run_id))

    @invariant()
    def queues_are_paused_or_not(self) -> None:
        found = self.runner.run(self.store.queues())
        assert {queue.name: queue.paused for queue in found} == self.ledger.queues

    @invariant()
    def counts_are_right(self) -> None:
        states = [run.state for run in self.ledger.runs.values()]
        found = self.runner.run(self.store.counts())
        assert found == {state: states.count(state) for state in RunState}
        live = self.runner.run(self.store.live())
        assert [(known.run.id, known.stop_outcome, known.burnt) for known in live] == [
            (run.id, run.stop, run.burnt) for run in self.ledger.live()
        ]


async def done(request: Coroutine[Any, Any, object]) -> None:
    """A request whose answer is looked at in other ways."""
    await request


def answer_of(request: Callable[[], object]) -> object:
    """What it gives, or the class of its refusal."""
    try:
        return request()
    except IntendantError as refusal:
        return type(refusal)


@pytest.mark.timeout(1800)  # a failure is made small before it is told
def test_the_store_does_what_its_model_does(is_long: bool) -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=400 if is_long else 60,
            stateful_step_count=60 if is_long else 30,
            derandomize=not is_long,
            database=None,
            deadline=None,
            suppress_health_check=[*HealthCheck],
        ),
    )
