"""A long random life of a store; every step legal or refused, and the log tells all of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from intendant.errors import IllegalTransition, KeyConflict, StaleAttempt
from intendant.protocol.records import StepRecord
from intendant.protocol.run_states import LIVE, Outcome, RunNote, RunState
from tests.helpers.stores import TOKEN, StoreCase, check_invariants, opened, submission

STEPS = 1200
TOGETHER = 6


class Walk:
    """Random operations on random runs, several at a time so that they share commits."""

    def __init__(self, case: StoreCase, seed: int) -> None:
        self.case = case
        self.random = random.Random(seed)
        self.runs = 0
        self.refused = 0
        self.operations: list[Callable[[int, int], Awaitable[object]]] = [
            self.submit,
            self.grant,
            self.grant,
            self.start,
            self.start,
            self.end,
            self.end,
            self.burn,
            self.stop,
            self.hold,
            self.release,
            self.prioritize,
            self.note,
        ]

    async def step(self) -> None:
        """Do something; a refusal is an answer too."""
        self.case.clock.advance(self.random.choice((0, 0.05, 3)))
        operation = self.random.choice(self.operations)
        run_id = self.random.randint(max(1, self.runs - 20), max(1, self.runs))
        if not self.runs:
            operation = self.submit
        attempt = (await self.case.store.run(run_id)).attempt if self.runs else 0
        try:
            await operation(run_id, attempt)
        except (IllegalTransition, KeyConflict, StaleAttempt):
            self.refused += 1

    async def submit(self, _run_id: int, _attempt: int) -> None:
        policy = {"attempts": self.random.choice((0, 2)), "backoff_s": 1}
        more = {"retry": policy, "restartable": self.random.random() < 0.5}
        key = self.random.choice((None, f"key-{self.random.randint(0, 50)}"))
        batch = [
            submission("first", key=key, **more),  # type: ignore[arg-type]
            submission("second", after=["first"], hold=self.random.random() < 0.2, **more),  # type: ignore[arg-type]
            submission("third", after=["first", "second"], **more),  # type: ignore[arg-type]
        ]
        ids = await self.case.store.submit(batch[: self.random.randint(1, 3)], account="ada")
        self.runs = max(self.runs, *ids)

    async def grant(self, run_id: int, attempt: int) -> None:
        await self.case.store.grant(run_id, attempt + 1, token_sha256=TOKEN)

    async def start(self, run_id: int, attempt: int) -> None:
        await self.case.store.started(run_id, attempt, at=self.case.clock(), pid=1)

    async def end(self, run_id: int, attempt: int) -> None:
        step = StepRecord(event=RunNote.TERM_SENT, at=self.case.clock())
        end = self.case.ending(
            self.random.choice([*Outcome]),
            exit_code=self.random.choice((None, 0, 1)),
            daemon_lost=self.random.random() < 0.2,
            steps=[step] * self.random.randint(0, 2),
        )
        await self.case.store.ended(run_id, attempt, end=end)

    async def burn(self, run_id: int, attempt: int) -> None:
        await self.case.store.tombstoned(run_id, attempt, reason="no governor")

    async def stop(self, run_id: int, _attempt: int) -> None:
        outcome = self.random.choice((Outcome.CANCELLED, Outcome.INTERRUPTED))
        await self.case.store.request_stop([run_id], outcome=outcome, reason=f"by {outcome}")

    async def hold(self, run_id: int, _attempt: int) -> None:
        await self.case.store.hold([run_id])

    async def release(self, run_id: int, _attempt: int) -> None:
        await self.case.store.release([run_id])

    async def prioritize(self, run_id: int, _attempt: int) -> None:
        await self.case.store.set_priority(run_id, self.random.randint(-2, 2))

    async def note(self, run_id: int, attempt: int) -> None:
        await self.case.store.note(run_id, attempt, event=RunNote.ADOPTED, detail={"tries": 9})


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_life_can_be_told_from_its_events(tmp_path: Path, seed: int) -> None:
    async with opened(tmp_path) as case:
        walk = Walk(case, seed)
        for _ in range(STEPS // TOGETHER):
            await asyncio.gather(*(walk.step() for _ in range(TOGETHER)))
        check_invariants(case.path)

        counts = await case.store.counts()
        live = await case.store.live()
        latest = {run.id: run for run in case.changes}
        states = {run_id: (await case.store.run(run_id)) for run_id in latest}
        assert latest == states
        assert len(live) == sum(counts[state] for state in LIVE)
        assert sum(counts.values()) == walk.runs == len(latest)
        assert counts[RunState.ENDED] > 20
        assert walk.refused > 20


@pytest.mark.parametrize("seed", range(2))
async def test_a_store_that_is_opened_again_goes_on(tmp_path: Path, seed: int) -> None:
    runs = 0
    for part in range(3):
        async with opened(tmp_path) as case:
            walk = Walk(case, seed * 10 + part)
            walk.runs = runs
            for _ in range(100):
                await walk.step()
            runs = walk.runs
