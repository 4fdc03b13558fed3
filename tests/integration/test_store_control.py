"""What people ask of runs and queues, against a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.errors import (
    IllegalTransition,
    InvalidRequest,
    QueueNotFound,
    RunNotFound,
    StaleAttempt,
)
from intendant.protocol.run_states import Outcome, RunNote, RunState
from tests.helpers.stores import opened, submission

CANCELLED, INTERRUPTED = Outcome.CANCELLED, Outcome.INTERRUPTED


@pytest.mark.parametrize("hold", [False, True])
async def test_a_run_that_waits_is_cancelled_at_once(tmp_path: Path, hold: bool) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(hold=hold)

        result = await case.store.request_stop([run_id], outcome=CANCELLED, reason="by ada")

        [run] = result.runs
        assert (run.state, run.outcome, run.reason) == ("ended", "cancelled", "by ada")
        assert run.finished_at == case.clock()
        assert result.changed == [run_id]
        assert await case.store.run(run_id) == run


async def test_a_withdrawal_ends_what_waits_and_leaves_what_is_live(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        live, waiting = await case.add(), await case.add()
        await case.store.grant(live, 1, token_sha256="0" * 64)

        result = await case.store.request_stop(
            [live, waiting], outcome=CANCELLED, reason="by ada", only_waiting=True
        )

        assert [run.state for run in result.runs] == ["starting", "ended"]
        assert result.changed == [waiting]


async def test_a_shutdown_leaves_the_queue_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        result = await case.store.request_stop([run_id], outcome=INTERRUPTED, reason="shutdown")

        assert result.runs[0].state is RunState.QUEUED
        assert result.changed == []


@pytest.mark.parametrize("started", [False, True])
async def test_a_live_run_is_stopping_until_it_ends(tmp_path: Path, started: bool) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await (case.start(run_id) if started else case.grant(run_id))

        result = await case.store.request_stop([run_id], outcome=CANCELLED, reason="by ada")

        assert (result.runs[0].state, result.changed) == (RunState.STOPPING, [run_id])
        ended = await case.end(run_id, CANCELLED, reason="by ada", signal=15)
        assert (ended.outcome, ended.signal) == (CANCELLED, 15)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        pytest.param(CANCELLED, CANCELLED, (CANCELLED, "first"), id="a second cancel"),
        pytest.param(INTERRUPTED, INTERRUPTED, (INTERRUPTED, "first"), id="a second shutdown"),
        pytest.param(INTERRUPTED, CANCELLED, (CANCELLED, "second"), id="a cancel overrides"),
        pytest.param(CANCELLED, INTERRUPTED, (CANCELLED, "first"), id="a shutdown does not"),
    ],
)
async def test_a_persons_word_goes_over_the_daemons(
    tmp_path: Path, first: Outcome, second: Outcome, kept: tuple[Outcome, str]
) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        await case.store.request_stop([run_id], outcome=first, reason="first")

        result = await case.store.request_stop([run_id], outcome=second, reason="second")

        [live] = await case.store.live()
        assert (live.stop_outcome, live.stop_reason) == kept
        assert result.changed == ([run_id] if kept[1] == "second" else [])
        assert (await case.told(run_id)).count("stop_requested") == 1 + len(result.changed)


async def test_a_run_that_has_ended_stays_as_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        ended = await case.complete(run_id, Outcome.SUCCEEDED)

        result = await case.store.request_stop([run_id], outcome=CANCELLED, reason="by ada")

        assert (result.runs, result.changed) == ([ended], [])


async def test_dependents_of_a_cancelled_run_end_with_it_unless_they_are_named_too(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        batch = [
            submission("root"),
            submission("named", after=["root"]),
            submission("other", after=["root"]),
        ]
        root, named, other = await case.store.submit(batch, account="ada")

        await case.store.request_stop([root, named], outcome=CANCELLED, reason="by ada")

        outcomes = [(await case.store.run(run_id)).outcome for run_id in (root, named, other)]
        assert outcomes == [CANCELLED, CANCELLED, INTERRUPTED]


async def test_stopping_an_unknown_run_stops_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        with pytest.raises(RunNotFound, match="no run 17"):
            await case.store.request_stop([run_id, 17], outcome=CANCELLED, reason="by ada")

        assert (await case.store.run(run_id)).state is RunState.QUEUED


async def test_a_run_named_twice_is_stopped_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        result = await case.store.request_stop([run_id] * 2, outcome=CANCELLED, reason="by ada")

        assert (len(result.runs), result.changed) == (1, [run_id])


async def test_a_held_run_waits_until_it_is_released(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        assert (await case.store.hold([run_id])).changed == [run_id]
        assert (await case.store.hold([run_id])).changed == []
        assert await case.store.candidates({"default": 1}) == []
        assert (await case.store.release([run_id])).changed == [run_id]
        assert (await case.store.release([run_id])).changed == []
        assert len(await case.store.candidates({"default": 1})) == 1
        assert await case.told(run_id) == ["submitted", "held", "released"]


async def test_a_run_that_runs_can_neither_be_held_nor_released(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        waiting, running = await case.add(), await case.add()
        await case.start(running)

        with pytest.raises(IllegalTransition):
            await case.store.hold([waiting, running])
        with pytest.raises(IllegalTransition):
            await case.store.release([running])

        assert (await case.store.run(waiting)).state is RunState.QUEUED


async def test_a_new_priority_moves_the_run_in_its_queue(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        first, second = await case.add(), await case.add()

        result = await case.store.set_priority(second, 1)
        again = await case.store.set_priority(second, 1)

        assert (result.changed, again.changed) == ([second], [])
        assert result.runs[0].priority == 1
        assert result.runs[0].spec.priority == 0
        candidates = await case.store.candidates({"default": 2})
        assert [c.run_id for c in candidates] == [second, first]


async def test_a_run_that_has_ended_takes_no_priority(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.complete(run_id, Outcome.SUCCEEDED)

        with pytest.raises(IllegalTransition, match="has ended"):
            await case.store.set_priority(run_id, 1)


async def test_a_note_is_an_event_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        before = await case.store.run(run_id)

        await case.store.note(
            run_id, 1, event=RunNote.DISCONNECTED, detail={"priority": 9, "state": "ended"}
        )

        assert await case.store.run(run_id) == before
        [*_, event] = await case.store.events(0)
        assert (event.event, event.before, event.after) == ("disconnected", "running", "running")
        assert event.detail == {"priority": 9, "state": "ended"}
        assert case.changes[-1] == before


async def test_a_note_of_another_attempt_is_stale(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        with pytest.raises(StaleAttempt):
            await case.store.note(run_id, 1, event=RunNote.ADOPTED, detail={})


@pytest.mark.parametrize("event", [RunNote.SUBMITTED, RunNote.PRIORITY_SET])
async def test_a_note_that_would_change_the_row_is_refused(tmp_path: Path, event: RunNote) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        with pytest.raises(InvalidRequest, match="is no note"):
            await case.store.note(run_id, 0, event=event, detail={})


async def test_queues_are_made_changed_and_paused(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        [default] = await case.store.queues()
        assert (default.name, default.slots, default.paused) == ("default", None, False)

        assert (await case.store.queue_set("gpu", slots=2)).slots == 2
        assert (await case.store.queue_set("gpu", slots=1)).slots == 1
        await case.start(await case.add(queue="gpu"))
        assert (await case.store.queue_pause("gpu", True)).paused
        await case.add(queue="gpu")

        gpu = (await case.store.queues())[1]
        assert gpu.model_dump() == {
            "name": "gpu",
            "slots": 1,
            "paused": True,
            "queued": 1,
            "live": 1,
        }
        assert not (await case.store.queue_pause("gpu", False)).paused


async def test_a_queue_has_all_slots_again_and_goes_when_it_has_no_runs(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        await case.store.queue_set("gpu", slots=2)
        assert (await case.store.queue_set("gpu", slots=None)).slots is None
        run_id = await case.add(queue="gpu")
        with pytest.raises(InvalidRequest, match="queue gpu has runs: 1 queued; expected none"):
            await case.store.queue_remove("gpu")
        await case.complete(run_id, Outcome.SUCCEEDED)
        with pytest.raises(InvalidRequest, match="1 ended"):
            await case.store.queue_remove("gpu")
        await case.store.prune([run_id], before=case.clock(), detail={"by": "ada"})

        assert (await case.store.queue_remove("gpu")).name == "gpu"

        assert [queue.name for queue in await case.store.queues()] == ["default"]
        with pytest.raises(QueueNotFound):
            await case.add(queue="gpu")
        for name, error in (("gpu", QueueNotFound), ("default", InvalidRequest)):
            with pytest.raises(error):
                await case.store.queue_remove(name)


async def test_a_queue_that_steps_of_a_live_pipeline_go_to_stays(tmp_path: Path) -> None:
    step = {"name": "a", "workload": {"kind": "command", "argv": ["true"]}, "queue": "gpu"}
    pipeline = {"kind": "pipeline", "execution": "runs", "steps": [step]}
    async with opened(tmp_path) as case:
        await case.store.queue_set("gpu", slots=2)
        run_id = await case.add(workload=pipeline)
        with pytest.raises(InvalidRequest, match=f"needed by steps of run {run_id}"):
            await case.store.queue_remove("gpu")
        await case.complete(run_id, Outcome.FAILED)
        await case.store.queue_remove("gpu")


async def test_an_unknown_queue_can_not_be_paused(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        with pytest.raises(QueueNotFound, match="no queue 'gpu'; there are default"):
            await case.store.queue_pause("gpu", True)
