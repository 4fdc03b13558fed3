"""Attempts against a real database: granted, started, ended, retried, burnt."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from intendant.errors import IllegalTransition, RunNotFound, StaleAttempt
from intendant.protocol.records import StepRecord
from intendant.protocol.retry import MAX_RESTARTS
from intendant.protocol.run_states import Outcome, RunState
from tests.helpers.stores import TOKEN, opened, submission

RETRY_ONCE = {"attempts": 1, "backoff_s": 10}


async def test_a_run_goes_from_queue_to_success(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        grant = await case.store.grant(run_id, 1, token_sha256=TOKEN)
        begun = await case.store.started(run_id, 1, at=case.clock.advance(1), pid=42)
        ended = await case.end(run_id, Outcome.SUCCEEDED, exit_code=0)

        assert (grant.run.state, grant.run.attempt) == (RunState.STARTING, 1)
        assert (begun.state, begun.started_at) == (RunState.RUNNING, case.clock())
        assert (ended.state, ended.outcome) == (RunState.ENDED, Outcome.SUCCEEDED)
        assert (ended.exit_code, ended.finished_at) == (0, case.clock())
        assert await case.told(run_id) == ["submitted", "slot_granted", "started", "tree_empty"]
        assert [run.state for run in case.changes] == ["queued", "starting", "running", "ended"]
        assert await case.store.run(run_id) == ended


@pytest.mark.parametrize("attempt", [0, 2, -1])
async def test_only_the_next_attempt_is_granted(tmp_path: Path, attempt: int) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        with pytest.raises(
            StaleAttempt, match=f"found attempt {attempt}, expected the next one, 1"
        ):
            await case.store.grant(run_id, attempt, token_sha256=TOKEN)


async def test_an_attempt_is_granted_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        grants = await asyncio.gather(
            *(case.store.grant(run_id, 1, token_sha256=each * 64) for each in "01234"),
            return_exceptions=True,
        )

        assert sum(isinstance(grant, StaleAttempt) for grant in grants) == 4


@pytest.mark.parametrize("wanted", [{"hold": True}, {"after": ["first"]}])
async def test_a_run_that_may_not_start_is_not_granted(
    tmp_path: Path, wanted: dict[str, object]
) -> None:
    async with opened(tmp_path) as case:
        batch = [submission("first"), submission(**wanted)]  # type: ignore[arg-type]
        _, run_id = await case.store.submit(batch, account="ada")

        with pytest.raises(IllegalTransition):
            await case.store.grant(run_id, 1, token_sha256=TOKEN)


async def test_a_run_of_a_queue_that_has_been_paused_is_not_granted_until_it_is_resumed(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.store.queue_pause("default", True)

        with pytest.raises(IllegalTransition, match="paused"):
            await case.store.grant(run_id, 1, token_sha256=TOKEN)

        await case.store.queue_pause("default", False)
        await case.store.grant(run_id, 1, token_sha256=TOKEN)


async def test_nobody_can_touch_a_run_that_does_not_exist(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        with pytest.raises(RunNotFound, match="no run 17"):
            await case.store.grant(17, 1, token_sha256=TOKEN)
        with pytest.raises(RunNotFound, match="no run 17"):
            await case.store.ended(17, 1, end=case.ending(Outcome.FAILED))


async def test_a_second_start_is_no_news(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        before = await case.store.run(run_id)

        again = await case.store.started(run_id, 1, at=case.clock.advance(9), pid=99)

        assert again == before
        assert await case.told(run_id) == ["submitted", "slot_granted", "started"]


async def test_a_start_that_comes_after_the_end_is_no_news(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.grant(run_id)
        ended = await case.end(run_id, Outcome.SUCCEEDED)

        assert await case.store.started(run_id, 1, at=case.clock(), pid=1) == ended


async def test_a_message_of_another_attempt_is_stale(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry={"attempts": 1, "backoff_s": 0})
        await case.complete(run_id, Outcome.FAILED)
        await case.grant(run_id)

        for attempt in (0, 1, 3):
            with pytest.raises(StaleAttempt):
                await case.store.started(run_id, attempt, at=case.clock(), pid=1)
        for attempt in (0, 3):
            with pytest.raises(StaleAttempt):
                await case.store.ended(run_id, attempt, end=case.ending(Outcome.FAILED))
            with pytest.raises(StaleAttempt):
                await case.store.tombstoned(run_id, attempt, reason="late")


async def test_a_second_end_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        first = await case.complete(run_id, Outcome.SUCCEEDED, exit_code=0)

        second = await case.end(run_id, Outcome.FAILED, exit_code=1)
        burnt = await case.store.tombstoned(run_id, 1, reason="late")

        assert second == burnt == first
        assert (await case.told(run_id))[-1] == "tree_empty"


async def test_a_second_end_of_an_old_attempt_leaves_the_new_one_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry={"attempts": 1, "backoff_s": 0})
        await case.complete(run_id, Outcome.FAILED)
        await case.start(run_id)

        run = await case.store.ended(run_id, 1, end=case.ending(Outcome.FAILED))

        assert (run.state, run.attempt) == (RunState.RUNNING, 2)


async def test_an_end_tells_of_a_start_that_nobody_heard_of(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.grant(run_id)
        began = case.clock()
        case.clock.advance(60)

        ended = await case.end(run_id, Outcome.SUCCEEDED, started_at=began)

        assert ended.started_at == began
        [attempt] = await case.store.attempts(run_id)
        assert (attempt.started_at, attempt.finished_at) == (began, case.clock())


async def test_steps_of_the_governor_come_before_the_end_with_their_own_times(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        at = case.clock() + timedelta(seconds=3)
        steps = [
            StepRecord(event="term_sent", at=at),
            StepRecord(event="priority_set", at=at),
            StepRecord(event="tree_empty", at=at),
        ]
        case.clock.advance(9)

        await case.end(run_id, Outcome.TIMED_OUT, steps=steps)

        events = await case.store.events(3)
        assert [event.event for event in events] == ["term_sent", "tree_empty"]
        assert [event.at for event in events] == [at, case.clock()]


async def test_a_failure_is_retried_after_its_back_off(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry=RETRY_ONCE)

        run = await case.complete(run_id, Outcome.FAILED, exit_code=3)

        assert (run.state, run.outcome, run.exit_code) == (RunState.QUEUED, None, None)
        assert (run.started_at, run.finished_at, run.attempt) == (None, None, 1)
        assert await case.store.candidates({"default": 1}) == []
        assert await case.store.next_eligible_at() == case.clock() + timedelta(seconds=10)
        case.clock.advance(10)
        assert [c.attempt for c in await case.store.candidates({"default": 1})] == [1]
        assert await case.store.next_eligible_at() is None
        ended = await case.complete(run_id, Outcome.FAILED, exit_code=4)
        assert (ended.state, ended.attempt, ended.exit_code) == (RunState.ENDED, 2, 4)
        exit_codes = [attempt.exit_code for attempt in await case.store.attempts(run_id)]
        assert exit_codes == [3, 4]


async def test_the_event_of_a_retry_tells_how_the_attempt_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry=RETRY_ONCE)
        await case.complete(run_id, Outcome.FAILED, exit_code=3, reason="exit_code")

        [*_, event] = await case.store.events(0)

        assert event.event == "retry_granted"
        assert event.detail["ended"] == {
            "outcome": "failed",
            "reason": "exit_code",
            "exit_code": 3,
        }


async def test_what_a_shutdown_stopped_comes_back_if_it_is_restartable(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(restartable=True)
        for _ in range(3):
            await case.start(run_id)
            await case.store.request_stop([run_id], outcome=Outcome.INTERRUPTED, reason="shutdown")
            run = await case.end(run_id, Outcome.INTERRUPTED)
            assert run.state is RunState.QUEUED
            assert len(await case.store.candidates({"default": 1})) == 1


async def test_a_stop_is_forgotten_with_the_attempt_that_it_stopped(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(restartable=True)
        await case.start(run_id)
        await case.store.request_stop([run_id], outcome=Outcome.INTERRUPTED, reason="shutdown")
        await case.end(run_id, Outcome.INTERRUPTED)

        await case.start(run_id)

        [live] = await case.store.live()
        assert (live.stop_outcome, live.stop_reason) == (None, None)
        await case.end(run_id, Outcome.INTERRUPTED, reason="governor_lost")
        [*_, event] = await case.store.events(0)
        assert event.detail["ended"] == {"outcome": "interrupted", "reason": "governor_lost"}


async def test_a_restartable_run_whose_governor_is_lost_again_and_again_ends(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(restartable=True)
        for _ in range(MAX_RESTARTS):
            run = await case.complete(run_id, Outcome.INTERRUPTED, reason="governor_lost")
            assert run.state is RunState.QUEUED

        run = await case.complete(run_id, Outcome.INTERRUPTED, reason="governor_lost")

        assert (run.state, run.reason) == (RunState.ENDED, "governor_lost")


async def test_what_a_lost_daemon_took_down_comes_back_if_it_is_restartable(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        fragile, restartable = await case.add(), await case.add(restartable=True)

        ended = await case.complete(fragile, Outcome.INTERRUPTED, daemon_lost=True)
        again = await case.complete(restartable, Outcome.INTERRUPTED, daemon_lost=True)

        assert (ended.state, again.state) == (RunState.ENDED, RunState.QUEUED)


async def test_what_a_shutdown_stopped_ends_if_it_is_not_restartable(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        await case.store.request_stop([run_id], outcome=Outcome.INTERRUPTED, reason="shutdown")

        run = await case.end(run_id, Outcome.INTERRUPTED, reason="shutdown")

        assert (run.state, run.outcome) == (RunState.ENDED, Outcome.INTERRUPTED)


async def test_a_cancelled_run_is_not_retried(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry=RETRY_ONCE)
        await case.start(run_id)
        await case.store.request_stop([run_id], outcome=Outcome.CANCELLED, reason="by ada")

        run = await case.end(run_id, Outcome.FAILED, exit_code=1)

        assert (run.state, run.outcome) == (RunState.ENDED, Outcome.FAILED)


async def test_an_attempt_lost_while_it_was_cancelled_is_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        await case.store.request_stop([run_id], outcome=Outcome.CANCELLED, reason="by ada")

        run = await case.end(run_id, Outcome.INTERRUPTED, reason="governor_lost")

        assert (run.outcome, run.reason) == (Outcome.CANCELLED, "by ada")
        [attempt] = await case.store.attempts(run_id)
        assert (attempt.outcome, attempt.reason) == (Outcome.INTERRUPTED, "governor_lost")


async def test_a_burnt_attempt_goes_back_to_the_queue_with_a_doubling_wait(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        waits = []
        for _ in range(4):
            attempt = await case.grant(run_id)
            run = await case.store.tombstoned(run_id, attempt, reason="no governor")
            assert run.state is RunState.QUEUED
            eligible_at = await case.store.next_eligible_at()
            assert eligible_at is not None
            waits.append((eligible_at - case.clock()).total_seconds())

        assert waits == [0.1, 0.2, 0.4, 0.8]
        first, *_ = await case.store.attempts(run_id)
        assert (first.outcome, first.reason) == (
            Outcome.INTERRUPTED,
            "not_started: no governor",
        )
        assert first.started_at is None


async def test_the_fifth_burnt_attempt_in_a_row_ends_the_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry={"attempts": 9})
        for _ in range(5):
            attempt = await case.grant(run_id)
            run = await case.store.tombstoned(run_id, attempt, reason="no governor")

        assert (run.state, run.outcome) == (RunState.ENDED, Outcome.FAILED)
        assert run.reason == "launch_failed: no governor"


async def test_a_start_ends_the_row_of_burnt_attempts(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry={"attempts": 9, "backoff_s": 0})
        for _ in range(3):
            for _ in range(3):
                attempt = await case.grant(run_id)
                await case.store.tombstoned(run_id, attempt, reason="no governor")
            await case.start(run_id)
            assert [attempt.burnt for attempt in await case.store.live()] == [0]
            run = await case.end(run_id, Outcome.FAILED)

        assert (run.state, run.attempt) == (RunState.QUEUED, 12)


async def test_burnt_attempts_use_up_no_retry(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry={"attempts": 1, "backoff_s": 0})
        attempt = await case.grant(run_id)
        await case.store.tombstoned(run_id, attempt, reason="no governor")

        run = await case.complete(run_id, Outcome.FAILED)

        assert run.state is RunState.QUEUED


async def test_a_burnt_attempt_of_a_cancelled_run_ends_it_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.grant(run_id)
        await case.store.request_stop([run_id], outcome=Outcome.CANCELLED, reason="by ada")

        run = await case.store.tombstoned(run_id, 1, reason="cancelled first")

        assert (run.state, run.outcome, run.reason) == ("ended", "cancelled", "by ada")


async def test_an_attempt_burnt_by_the_shutdown_is_nobodys_failure(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        for _ in range(6):
            attempt = await case.grant(run_id)
            await case.store.request_stop([run_id], outcome=Outcome.INTERRUPTED, reason="shutdown")
            run = await case.store.tombstoned(run_id, attempt, reason="shutdown")

        assert run.state is RunState.QUEUED
        assert len(await case.store.candidates({"default": 1})) == 1


async def test_an_attempt_burnt_by_a_daemon_that_died_is_nobodys_failure(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        for _ in range(6):
            attempt = await case.grant(run_id)
            run = await case.store.tombstoned(run_id, attempt, reason="x", daemon_lost=True)

        assert run.state is RunState.QUEUED
        assert len(await case.store.candidates({"default": 1})) == 1


@pytest.mark.parametrize("is_stopping", [False, True])
async def test_an_attempt_that_started_can_not_be_burnt(tmp_path: Path, is_stopping: bool) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        if is_stopping:
            await case.store.request_stop([run_id], outcome=Outcome.CANCELLED, reason="by ada")

        with pytest.raises(IllegalTransition):
            await case.store.tombstoned(run_id, 1, reason="no governor")


async def test_live_attempts_tell_what_recovery_must_know(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        waiting, starting, stopping = [await case.add() for _ in range(3)]
        await case.store.grant(starting, 1, token_sha256="a" * 64)
        await case.store.grant(stopping, 1, token_sha256="b" * 64)
        await case.store.request_stop([stopping], outcome=Outcome.CANCELLED, reason="by ada")

    async with opened(tmp_path) as case:
        first, second = await case.store.live()

        assert waiting not in (first.run.id, second.run.id)
        assert (first.run.id, first.token_sha256, first.stop_outcome) == (starting, "a" * 64, None)
        assert (second.run.id, second.token_sha256) == (stopping, "b" * 64)
        assert (second.stop_outcome, second.stop_reason) == (Outcome.CANCELLED, "by ada")


async def test_only_a_live_run_has_something_to_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        with pytest.raises(StaleAttempt, match="is queued"):
            await case.store.grant_info(run_id)


@pytest.mark.parametrize("outcome", [*Outcome])
async def test_dependents_go_as_the_run_before_them_went(tmp_path: Path, outcome: Outcome) -> None:
    async with opened(tmp_path) as case:
        batch = [
            submission("root"),
            submission("other"),
            submission("child", after=["root", "other"]),
            submission("held", after=["root"], hold=True),
            submission("grandchild", after=["child"]),
        ]
        root, other, child, held, grandchild = await case.store.submit(batch, account="ada")
        await case.complete(other, Outcome.SUCCEEDED)

        await case.complete(root, outcome)

        runs = [await case.store.run(run_id) for run_id in (child, held, grandchild)]
        if outcome is Outcome.SUCCEEDED:
            assert [run.state for run in runs] == ["queued", "held", "queued"]
            assert [c.run_id for c in await case.store.candidates({"default": 9})] == [child]
        else:
            assert {(run.state, run.outcome, run.reason) for run in runs} == {
                ("ended", "interrupted", "dependency")
            }
            [*_, event] = await case.store.events(0, run_ids=[grandchild])
            assert (event.event, event.detail["run"]) == ("dependency_failed", child)


async def test_a_dependent_that_was_cancelled_stays_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        batch = [submission("root"), submission("child", after=["root"])]
        root, child = await case.store.submit(batch, account="ada")
        await case.store.request_stop([child], outcome=Outcome.CANCELLED, reason="by ada")

        ended = await case.complete(root, Outcome.SUCCEEDED)

        assert ended.outcome is Outcome.SUCCEEDED
        assert (await case.store.run(child)).outcome is Outcome.CANCELLED


async def test_a_retry_keeps_dependents_waiting(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        batch = [submission("root", retry=RETRY_ONCE), submission("child", after=["root"])]
        root, child = await case.store.submit(batch, account="ada")

        await case.complete(root, Outcome.FAILED)

        assert (await case.store.run(child)).state is RunState.QUEUED
        assert await case.store.candidates({"default": 9}) == []


async def test_a_long_chain_of_dependents_ends_with_its_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        chain = [submission("0")]
        chain += [submission(str(n), after=[str(n - 1)]) for n in range(1, 1500)]
        first, *_ = await case.store.submit(chain, account="ada")

        await case.complete(first, Outcome.FAILED)

        assert (await case.store.counts())[RunState.ENDED] == 1500
