"""Carrying out a graph on disk: pauses between attempts, with attempts that the tests play."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_states import StepOutcome as Out
from intendant.workloads.pipeline.callbacks import Callbacks
from intendant.workloads.pipeline.continuing import open_store
from intendant.workloads.pipeline.graph_executor import GraphExecutor, PipelineRun
from intendant.workloads.pipeline.processes import Attempt, AttemptEnd, Stop

Play = Callable[[Attempt, Stop], Awaitable[Out]]


class Runner:
    """Carries attempts out as the test says."""

    def __init__(self, play: Play) -> None:
        self._play = play

    async def run(self, attempt: Attempt, stop: Stop) -> AttemptEnd:
        return AttemptEnd(await self._play(attempt, stop), None)

    async def close(self) -> None:
        """Nothing to close."""


def carry_out(folder: Path, play: Play, steps: list[dict[str, Any]]) -> dict[str, Out | None]:
    work = {"kind": "command", "argv": ["true"]}
    spec = PipelineSpec.model_validate(
        {
            "kind": "pipeline",
            "fail_fast": True,
            "steps": [{"workload": work, **step} for step in steps],
        }
    )
    with open_store(spec, folder) as store, Callbacks(spec) as callbacks:

        async def run() -> None:
            executor = GraphExecutor(
                PipelineRun(spec, "1.1", folder, folder, {}),
                store,
                runners={"processes": Runner(play)},
                room={"processes": 4},
                callbacks=callbacks,
            )
            await asyncio.wait_for(executor.run(), 10)

        asyncio.run(run())
        return {info.name: info.outcome for info in store.steps()}


def retried(name: str, on: str) -> dict[str, Any]:
    return {"name": name, "retry": {"attempts": 1, "backoff_s": 0.1, "on": [on]}}


def test_a_pause_that_is_over_as_the_pipeline_is_stopped_ends_the_step(tmp_path: Path) -> None:
    async def play(attempt: Attempt, _: Stop) -> Out:
        if attempt.step == "b":  # its end and that of the pause of `a` are due in the same turn
            await asyncio.sleep(0.02)
            asyncio.get_running_loop().call_soon(time.sleep, 0.3)
            await asyncio.sleep(0.01)
        return Out.FAILED

    outcomes = carry_out(tmp_path, play, [retried("a", "failed"), {"name": "b"}])
    assert outcomes == {"a": Out.ABORTED, "b": Out.FAILED}


def test_a_step_that_timed_out_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    async def play(attempt: Attempt, stop: Stop) -> Out:
        if attempt.order["folder"].endswith("1"):
            stop.wish("timed_out")
            return Out.TIMED_OUT
        return Out.SUCCEEDED

    assert carry_out(tmp_path, play, [retried("a", "timed_out")]) == {"a": Out.SUCCEEDED}
