"""Carrying out a graph on disk, with attempts that the tests play."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_states import StepEvent
from intendant.protocol.step_states import StepOutcome as Out
from intendant.store.steps import STEPS_FILE, StepChange, read_steps
from intendant.workloads.pipeline.callbacks import Callbacks
from intendant.workloads.pipeline.continuing import open_store
from intendant.workloads.pipeline.graph_executor import GraphExecutor, PipelineRun, Watcher
from intendant.workloads.pipeline.processes import Attempt, AttemptEnd, Stop

BACKOFF_S = 1.0
"""Longer than a slow machine keeps a loop from its turn."""
ROOM = 4
Play = Callable[[Attempt, Stop], Awaitable[Out]]


class Runner:
    """Carries attempts out as the test says."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.story: list[str] = []

    async def run(self, attempt: Attempt, stop: Stop) -> AttemptEnd:
        outcome = await self._play(attempt, stop)
        self.story.append(attempt.step)
        return AttemptEnd(outcome, None)

    async def close(self) -> None:
        self.story.append("closed")


def carry_out(folder: Path, play: Play, steps: list[dict[str, Any]]) -> dict[str, Out | None]:
    """Carry out commands; how each step ended."""
    return carried_out_by(Runner(play), folder, steps)


def carried_out_by(
    runner: Runner,
    folder: Path,
    steps: list[dict[str, Any]],
    *,
    fail_fast: bool = True,
    watchers: Sequence[Watcher] = (),
    **pipeline: Any,
) -> dict[str, Out | None]:
    work = {"kind": "command", "argv": ["true"]}
    spec = PipelineSpec.model_validate(
        {
            "kind": "pipeline",
            "fail_fast": fail_fast,
            "steps": [{"workload": work, **step} for step in steps],
            **pipeline,
        }
    )
    with open_store(spec, folder) as store, Callbacks(spec) as callbacks:

        async def run() -> None:
            executor = GraphExecutor(
                PipelineRun(spec, "1.1", folder, folder, {}),
                store,
                runners={"processes": runner},
                room={"processes": ROOM},
                callbacks=callbacks,
                watchers=watchers,
            )
            await asyncio.wait_for(executor.run(), 60)

        asyncio.run(run())
        return {info.name: info.outcome for info in store.steps()}


def retried(name: str, on: str) -> dict[str, Any]:
    return {"name": name, "retry": {"attempts": 1, "backoff_s": BACKOFF_S, "on": [on]}}


def test_a_pause_that_is_over_as_the_pipeline_is_stopped_ends_the_step(tmp_path: Path) -> None:
    async def play(attempt: Attempt, _: Stop) -> Out:
        if attempt.step == "b":  # its end and that of the pause of `a` are due in the same turn
            await asyncio.sleep(0.02)
            asyncio.get_running_loop().call_soon(time.sleep, 1.2 * BACKOFF_S)
            await asyncio.sleep(0.01)
        return Out.FAILED

    outcomes = carry_out(tmp_path, play, [retried("a", "failed"), {"name": "b"}])
    assert outcomes == {"a": Out.ABORTED, "b": Out.FAILED}


def test_a_reference_to_too_much_is_left_to_the_step_to_say_though_a_callback_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intendant.protocol.references.MAX_EXPANDED", 10)

    async def play(_: Attempt, __: Stop) -> Out:
        return Out.SUCCEEDED

    outcomes = carried_out_by(
        Runner(play),
        tmp_path,
        [{"name": "a", "parameters": {"x": "it is ${pipeline.much}"}}, {"name": "b"}],
        parameters={"much": "x" * 11},
        on_step_created="operator:ne",  # true of any two that differ: every step may start
    )
    assert outcomes == {"a": Out.SUCCEEDED, "b": Out.SUCCEEDED}


def test_a_step_that_timed_out_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    async def play(attempt: Attempt, stop: Stop) -> Out:
        if attempt.order["folder"].endswith("1"):
            stop.wish("timed_out")
            return Out.TIMED_OUT
        return Out.SUCCEEDED

    assert carry_out(tmp_path, play, [retried("a", "timed_out")]) == {"a": Out.SUCCEEDED}


def test_clearml_c14_what_starts_is_on_disk_before_it_starts_and_so_is_what_ended(
    tmp_path: Path,
) -> None:
    seen: dict[str, dict[str, str]] = {}

    async def play(attempt: Attempt, _: Stop) -> Out:
        steps = read_steps(tmp_path / STEPS_FILE)
        seen[attempt.step] = {info.name: info.outcome or info.state for info in steps}
        return Out.SUCCEEDED

    carry_out(tmp_path, play, [{"name": "a"}, {"name": "b"}, {"name": "c", "after": ["a", "b"]}])
    assert seen["a"] == {"a": "running", "b": "running", "c": "pending"}, "one wave"
    assert seen["c"] == {"a": "succeeded", "b": "succeeded", "c": "running"}


def test_pyperunner_p3_as_many_steps_as_there_is_room_for_run_beside_each_other_and_no_more(
    tmp_path: Path,
) -> None:
    running: set[str] = set()
    counts: list[int] = []
    is_full = asyncio.Event()

    async def play(attempt: Attempt, _: Stop) -> Out:
        running.add(attempt.step)
        counts.append(len(running))
        if len(running) == ROOM:
            is_full.set()
        await is_full.wait()  # none ends before as many run as may
        await asyncio.sleep(0)
        running.remove(attempt.step)
        return Out.SUCCEEDED

    outcomes = carry_out(tmp_path, play, [{"name": f"s{number}"} for number in range(3 * ROOM)])
    assert max(counts) == ROOM
    assert {*outcomes.values()} == {Out.SUCCEEDED}


def test_lsst_l3_before_anything_starts_every_step_is_laid_out(tmp_path: Path) -> None:
    work = {"kind": "command", "argv": ["true"]}
    steps = [{"name": name, "workload": work} for name in ("b", "a")]
    spec = PipelineSpec.model_validate({"kind": "pipeline", "steps": steps})
    open_store(spec, tmp_path).close()
    infos = read_steps(tmp_path / STEPS_FILE)
    assert [(info.name, info.state, info.attempt) for info in infos] == [
        ("b", "pending", 0), ("a", "pending", 0),
    ]  # fmt: skip
    assert all(info.fingerprint for info in infos)


def test_clearml_c27_a_launch_that_is_refused_fails_its_step_once_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    launches = []

    async def play(attempt: Attempt, _: Stop) -> Out:
        launches.append(attempt.step)
        if attempt.step == "a":
            raise OSError(errno.EMFILE, "Too many open files")
        return Out.SUCCEEDED

    steps: list[dict[str, Any]] = [{"name": "a"}, {"name": "b", "after": ["a"]}, {"name": "c"}]
    outcomes = carried_out_by(Runner(play), tmp_path, steps, fail_fast=False)
    assert outcomes == {"a": Out.FAILED, "b": Out.NOT_RUN, "c": Out.SUCCEEDED}
    assert sorted(launches) == ["a", "c"]
    [a, *_] = read_steps(tmp_path / STEPS_FILE)
    assert str(a.reason).startswith("launch: ")


@pytest.mark.parametrize("outcome", [Out.SUCCEEDED, Out.FAILED])
def test_lsst_l8_a_model_of_execution_hears_of_the_end_of_the_graph_once_and_last(
    tmp_path: Path, outcome: Out
) -> None:
    async def play(*_: object) -> Out:
        return outcome

    runner = Runner(play)
    carried_out_by(runner, tmp_path, [{"name": "a"}, {"name": "b", "after": ["a"]}])
    assert runner.story == (["a", "b"] if outcome is Out.SUCCEEDED else ["a"]) + ["closed"]


def test_who_watches_is_told_of_each_step_in_order_however_long_that_takes(tmp_path: Path) -> None:
    again = asyncio.Event()
    told: list[tuple[str, StepEvent]] = []

    class Slow:
        async def tell(self, changes: list[StepChange]) -> None:
            if ("b", StepEvent.ENDED) in [(change.step, change.event) for change in changes]:
                with suppress(TimeoutError):
                    await asyncio.wait_for(again.wait(), 3 * BACKOFF_S)
                    await asyncio.sleep(BACKOFF_S)
            told.extend((change.step, change.event) for change in changes)

    async def play(attempt: Attempt, _: Stop) -> Out:
        await asyncio.sleep(0.05)
        if attempt.step == "a" and attempts_of_a.pop():
            return Out.FAILED
        if attempt.step == "a":
            again.set()
        return Out.SUCCEEDED

    attempts_of_a = [False, True]
    steps = [{"name": "b"}, retried("a", "failed")]
    assert carried_out_by(Runner(play), tmp_path, steps, watchers=[Slow()]) == {
        "a": Out.SUCCEEDED,
        "b": Out.SUCCEEDED,
    }
    assert [event for step, event in told if step == "a"] == [
        StepEvent.STARTED,
        StepEvent.RETRIED,
        StepEvent.STARTED,
        StepEvent.ENDED,
    ]
