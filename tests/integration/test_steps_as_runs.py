"""Steps as runs: what a daemon refuses for the moment is asked again; one that is gone holds up no
pipeline that is to end.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intendant.errors import Busy, RequestExpired, RequestRefused
from intendant.protocol import messages as m
from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.run_states import Outcome
from intendant.protocol.step_states import LEFT_BEHIND, StepOutcome
from intendant.store.steps import ended, started
from intendant.workloads.pipeline import runs
from intendant.workloads.pipeline.continuing import open_store
from intendant.workloads.pipeline.processes import Attempt, AttemptEnd, Stop
from intendant.workloads.pipeline.runs import ORDER_FILE, RunsRunner
from tests.helpers.fake_daemon import fake_daemon
from tests.helpers.fake_executor import Ending, FakeExecutor

LIMIT_S = 60.0
REACH_S = 0.1


class Moody(FakeExecutor):
    """Refuses some requests before it answers one."""

    moods: list[RequestRefused]

    def _answer(self, request: m.ExecutorRequest) -> m.Message:
        if self.moods:
            raise self.moods.pop(0)
        return FakeExecutor._answer(self, request)


@pytest.mark.parametrize("mood", [Busy, RequestExpired])
async def test_a_daemon_that_is_busy_does_not_fail_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: type[RequestRefused]
) -> None:
    executor = Moody(ending=Ending(Outcome.FAILED, exit_code=3, reason="exit_code: 3"))
    executor.moods = [mood("not now"), mood("not yet")]
    endpoint = f"ipc://{tmp_path}/b.sock"
    monkeypatch.setenv("INTENDANT_ENDPOINT", endpoint)
    order = {"folder": str(tmp_path), "cwd": "/"}

    async with fake_daemon(executor, endpoint), asyncio.timeout(LIMIT_S):
        runner = RunsRunner("7.1")
        end = await runner.run(Attempt("a", order, None, 1.0), Stop())
        await runner.close()

    assert end == AttemptEnd(StepOutcome.FAILED, "exit_code: 3")
    assert [run.submission_key for run in executor.submissions] == [f"pipeline/7/a/{tmp_path.name}"]


async def test_a_pipeline_that_is_to_end_does_not_wait_for_a_daemon_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = FakeExecutor(ending=None)
    endpoint = f"ipc://{tmp_path}/b.sock"
    monkeypatch.setenv("INTENDANT_ENDPOINT", endpoint)
    is_queued, stop, runner = asyncio.Event(), Stop(), RunsRunner("7.1")
    order = {"folder": str(tmp_path), "cwd": "/"}
    attempt = Attempt("a", order, None, 1.0, note_run=lambda _: is_queued.set())

    async with asyncio.timeout(LIMIT_S):
        async with fake_daemon(executor, endpoint):
            carried_out = asyncio.ensure_future(runner.run(attempt, stop))
            await is_queued.wait()
        assert not carried_out.done(), "while nobody wishes its end it waits for the next daemon"
        stop.wish("aborted")
        end = await carried_out
        await runner.close()

    assert end == AttemptEnd(StepOutcome.ABORTED, LEFT_BEHIND)


class SlowToAnswer:
    """A client whose daemon answers in the turn of the loop in which patience is over."""

    def __init__(self, endpoint: str) -> None:
        self.address = endpoint
        self.id = 1

    async def submit(self, _: object, *, key: str) -> SlowToAnswer:
        assert key
        return self

    async def wait(self) -> None:
        await asyncio.Event().wait()

    async def cancel(self, _: int, **__: object) -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_later(REACH_S / 2, answer.set_result, None)
        loop.call_soon(time.sleep, 2 * REACH_S)  # both are due after it
        await answer


async def test_an_answer_that_comes_as_patience_ends_does_not_bring_the_pipeline_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTENDANT_ENDPOINT", "ipc:///nowhere")
    monkeypatch.setattr(runs, "AsyncClient", SlowToAnswer)
    monkeypatch.setattr(runs, "_REACH_S", REACH_S)
    stop = Stop()
    order = {"folder": str(tmp_path), "cwd": "/"}
    attempt = Attempt("a", order, None, 1.0, note_run=lambda _: stop.wish("aborted"))

    async with asyncio.timeout(LIMIT_S):
        end = await RunsRunner("7.1").run(attempt, stop)

    assert end == AttemptEnd(StepOutcome.ABORTED, LEFT_BEHIND)


async def test_the_order_of_a_run_that_is_found_again_is_whole_for_whoever_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = FakeExecutor(ending=Ending(Outcome.FAILED, exit_code=3, reason="exit_code: 3"))
    endpoint = f"ipc://{tmp_path}/b.sock"
    monkeypatch.setenv("INTENDANT_ENDPOINT", endpoint)
    attempt = Attempt("a", {"folder": str(tmp_path), "cwd": "/"}, None, 1.0)
    (tmp_path / ORDER_FILE).write_text("the one before")

    with (tmp_path / ORDER_FILE).open() as reader:
        async with fake_daemon(executor, endpoint), asyncio.timeout(LIMIT_S):
            runner = RunsRunner("7.1")
            await runner.run(attempt, Stop())
            await runner.close()
        assert reader.read() == "the one before"

    assert json.loads((tmp_path / ORDER_FILE).read_text()) == {**attempt.order, "is_alone": False}
    assert (tmp_path / ORDER_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("reason", "counts"), [(LEFT_BEHIND, 0), ("aborted: otherwise", 1)])
def test_a_run_that_was_left_behind_is_found_again_by_the_number_of_its_attempt(
    tmp_path: Path, reason: str, counts: int
) -> None:
    step = {"name": "a", "workload": {"kind": "command", "argv": ["true"]}}
    pipeline = PipelineSpec.model_validate(
        {"kind": "pipeline", "execution": "runs", "steps": [step]}
    )
    now = datetime.now(UTC)
    with open_store(pipeline, tmp_path) as store:
        store.write([started("a", attempt=1, folder="steps/a/1", at=now)])
        store.write([ended("a", StepOutcome.ABORTED, reason, at=now)])
    with open_store(pipeline, tmp_path) as store:
        [info] = store.steps()
    assert (info.outcome, info.attempt) == (None, counts)
