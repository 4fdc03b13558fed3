"""Who watches a pipeline's steps sees an end of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from intendant.broker.worker import Request
from intendant.executor.streams import on_step_watch
from intendant.protocol.messages import StepsChanged, StepWatchRequest
from intendant.protocol.run_states import Outcome
from intendant.protocol.specs import Submission
from intendant.protocol.step_records import StepInfo
from intendant.protocol.step_states import StepOutcome
from intendant.store.steps import STEPS_FILE, StepStore, ended, started
from tests.helpers.supervised import supervised
from tests.integration.test_scheduler import ADA, serving

AT = datetime(2030, 1, 1, tzinfo=UTC)
STEPS = ("done", "cut", "never")


async def test_steps_that_a_killed_pipeline_told_no_end_of_end_with_it(tmp_path: Path) -> None:
    told: list[bytes] = []

    async def send(body: Sequence[bytes]) -> None:
        told.extend(body)

    async with supervised(tmp_path) as attempt:
        [run_id] = await attempt.case.store.submit([pipeline()], account="ada")
        folder = attempt.parts.spool.run_folder(run_id)
        folder.mkdir(parents=True)
        with StepStore(folder / STEPS_FILE) as steps:
            steps.lay_out(dict.fromkeys(STEPS, "f"))
            steps.write([started(name, attempt=1, folder=name, at=AT) for name in STEPS[:2]])
            steps.write([ended("done", StepOutcome.SUCCEEDED, None, at=AT)])
        await attempt.case.complete(run_id, Outcome.INTERRUPTED)

        watch = StepWatchRequest(selection=[str(run_id)])
        await on_step_watch(serving(attempt), watch, Request(ADA.caller, [], send), ADA)

    last = {step.name: step for body in told for step in changed(body)}
    assert {name: step.outcome for name, step in last.items()} == {
        "done": "succeeded", "cut": "aborted", "never": "not_run",
    }  # fmt: skip
    assert {step.state for step in last.values()} == {"ended"}


def pipeline() -> Submission:
    steps = [{"name": name, "workload": {"kind": "command", "argv": ["true"]}} for name in STEPS]
    return Submission.model_validate({"spec": {"workload": {"kind": "pipeline", "steps": steps}}})


def changed(body: bytes) -> list[StepInfo]:
    return StepsChanged.model_validate_json(body).steps
