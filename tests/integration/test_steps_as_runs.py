"""Steps as runs: what a daemon refuses for the moment is asked again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from intendant.errors import Busy, RequestExpired, RequestRefused
from intendant.protocol import messages as m
from intendant.protocol.run_states import Outcome
from intendant.protocol.step_states import StepOutcome
from intendant.workloads.pipeline.processes import Attempt, AttemptEnd, Stop
from intendant.workloads.pipeline.runs import RunsRunner
from tests.helpers.fake_daemon import fake_daemon
from tests.helpers.fake_executor import Ending, FakeExecutor

LIMIT_S = 60.0


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
