"""Carrying out the graph: a task for each step that runs, which takes the next one on at its end.

Ends are taken in as they come; all that have come are written in one transaction, together with
what they settle and the starts that follow, before anything of that starts. So whatever stands in
the database has happened, and a parent is on disk as done before its children begin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, cast

import structlog

from intendant.protocol.pipelines import PipelineSpec, StepSpec
from intendant.protocol.references import expand
from intendant.protocol.retry import backoff_s
from intendant.protocol.run_states import Outcome
from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import GOOD, StepOutcome
from intendant.store.steps import StepChange, StepStore, ended, started
from intendant.workloads.pipeline.callbacks import CallbackFailed, Callbacks
from intendant.workloads.pipeline.inputs import Inputs
from intendant.workloads.pipeline.orders import attempt_folder, left_by, make_order
from intendant.workloads.pipeline.processes import Attempt, AttemptEnd, Stop
from intendant.workloads.pipeline.schedule import Schedule
from intendant.workloads.pipeline.step_folder import make_step_folder
from intendant.workloads.results import reason

log = structlog.get_logger()

MAX_CULPRITS = 5
"""How many of the steps that failed the reason names."""


class StepRunner(Protocol):
    """A model of execution: how one attempt at a step is carried out."""

    async def run(self, attempt: Attempt, stop: Stop) -> AttemptEnd:
        """Carry it out; return when nothing of it is left."""
        ...

    async def close(self) -> None:
        """Let go of what is kept for further steps."""
        ...


class Watcher(Protocol):
    """Somebody who is told what has happened, once it is on disk, before more happens."""

    async def tell(self, changes: list[StepChange]) -> None: ...


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One attempt at a pipeline: what it is, and where."""

    pipeline: PipelineSpec
    label: str
    """Run and attempt, for the titles of processes: `17.1`."""
    folder: Path
    """The run's, which all of its attempts share."""
    cwd: Path
    calls: Mapping[str, str]
    """The pickled functions of steps, by step."""


class GraphExecutor:
    """Carries the steps of one pipeline out, from where its database says that they are."""

    def __init__(
        self,
        run: PipelineRun,
        store: StepStore,
        *,
        runners: Mapping[str, StepRunner],
        room: Mapping[str, int],
        callbacks: Callbacks,
        watchers: Sequence[Watcher] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        pipeline = run.pipeline
        self._run = run
        self._pipeline = pipeline
        self._specs = {step.name: step for step in pipeline.steps}
        self._store = store
        self._runners = runners
        self._callbacks = callbacks
        self._watchers = (*watchers, callbacks)
        self._run_folder = run.folder
        self._now = now
        before = {info.name: info for info in store.begun_steps()}
        self._attempts = {name: info.attempt for name, info in before.items()}
        self._left: dict[str, Callable[[], dict[str, Any]]] = {}
        """What each step that has ended left, worked out only where somebody refers to it."""
        for name, info in before.items():
            if info.outcome:
                self._note_left(name, info.outcome, folder=info.folder, report=info.report)
        kept = {name: info.outcome for name, info in before.items() if info.outcome in GOOD}
        self._lanes = {step.name: pipeline.execution_of(step) for step in pipeline.steps}
        self._schedule = Schedule(
            pipeline.steps,
            pipeline.graph,
            lanes=self._lanes,
            room=room,
            fail_fast=pipeline.fail_fast,
            kept={name: outcome for name, outcome in kept.items() if outcome is not None},
        )
        self._tries: dict[str, int] = {}
        self._stops: dict[str, Stop] = {}
        self._changes: list[StepChange] = []
        self._woken = asyncio.Event()
        self._telling = asyncio.Lock()

    async def run(self) -> str | None:
        """Carry all of it out; why it failed, or None if it has not."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self._schedule.is_over:
                    for attempt in await self._take():
                        tasks.create_task(self._carry_out(attempt, tasks))
                    await self._woken.wait()
                    self._woken.clear()
            await self._flush()
        finally:
            for runner in self._runners.values():
                await runner.close()
        return self._reason()

    def stop(self) -> None:
        """Start nothing more, and end what runs."""
        if not self._schedule.is_stopped:
            self._settle_all("aborted: the pipeline ends")
        self._abort_running()
        self._woken.set()

    # --- starting --------------------------------------------------------------------------------

    async def _take(self) -> list[Attempt]:
        """What starts now, once that is written down, and with it what has ended."""
        attempts = [self._next_attempt(name) for name in self._schedule.take()]
        await self._flush()
        return attempts

    def _next_attempt(self, name: str) -> Attempt:
        spec = self._specs[name]
        self._attempts[name] = self._attempts.get(name, 0) + 1
        self._tries[name] = self._tries.get(name, 0) + 1
        below = attempt_folder(name, self._attempts[name])
        folder = f"{self._run_folder}/{below}"
        change = started(name, attempt=self._attempts[name], folder=below, at=self._now())
        self._changes.append(change)
        self._stops[name] = Stop()
        if spec.fresh or self._lanes[name] != "inline":  # there it is made when it is needed
            make_step_folder(folder)
        order = make_order(
            self._pipeline,
            spec,
            label=self._run.label,
            folder=folder,
            cwd=self._run.cwd,
            left=self._left,
            pickle=self._run.calls.get(name),
        )
        return Attempt(
            name,
            order,
            spec.timeout_s,
            spec.grace_s,
            is_fresh=spec.fresh,
            queue=spec.queue or "default",
            priority=spec.priority,
            note_run=partial(self._store.note_run, name),
        )

    # --- one attempt after another ---------------------------------------------------------------

    async def _carry_out(self, attempt: Attempt, tasks: asyncio.TaskGroup) -> None:
        """One attempt; where nothing else runs, what starts then as well: that takes no detour."""
        await self._try(attempt)
        while not self._schedule.running and (attempts := await self._take()):
            for other in attempts[1:]:
                tasks.create_task(self._carry_out(other, tasks))
            await self._try(attempts[0])
        self._woken.set()

    async def _try(self, attempt: Attempt) -> None:
        """One attempt; where it is to be tried again, room is given up for the pause."""
        name = attempt.step
        end = await self._unwanted(attempt)
        if end is None:
            end = await self._launched(attempt)
        pause_s = self._pause_s(self._specs[name], end.outcome)
        self._note_end(attempt, end, is_retried=pause_s is not None)
        if pause_s is None:
            self._settle(name, end.outcome)
        else:
            self._schedule.leave(name)
            await self._pause(name, pause_s)

    async def _launched(self, attempt: Attempt) -> AttemptEnd:
        """Have it carried out; a launch that the system refuses is this attempt's failure alone."""
        runner = self._runners[self._lanes[attempt.step]]
        try:
            return await runner.run(attempt, self._stops[attempt.step])
        except OSError as error:
            log.error("step_not_launched", step=attempt.step, error=str(error))
            await asyncio.sleep(0)  # the next may fail as quickly: a wish to end is heard between
            return AttemptEnd(StepOutcome.FAILED, reason("launch", str(error)))

    async def _unwanted(self, attempt: Attempt) -> AttemptEnd | None:
        """The end of an attempt that does not begin, because a callback does not want it to."""
        if not self._callbacks.wants_creations:
            return None
        try:
            inputs = Inputs(self._pipeline.parameters, attempt.order["left"])
            parameters = expand(attempt.order["parameters"], inputs.look_up)
        except (Exception, SystemExit):  # noqa: BLE001  what it refers to is the user's
            return None  # the step says so itself
        said = await self._callbacks.ask(attempt.step, cast(dict[str, Any], parameters))
        if isinstance(said, CallbackFailed):
            return AttemptEnd(StepOutcome.FAILED, reason("callback", said.text))
        if said is not None:
            return AttemptEnd(StepOutcome.SKIPPED, "callback")
        return None

    async def _pause(self, name: str, pause_s: float) -> None:
        """Wait before the next attempt; the pipeline may be stopped meanwhile."""
        self._woken.set()  # somebody else may have the room
        self._stops[name] = Stop()  # the attempt's own says so if it has timed out
        try:
            async with asyncio.timeout(pause_s):
                await self._stops[name].wait()
        except TimeoutError:
            if self._stops[name].why is None:
                self._schedule.put_back(name)
                return
        reason = "aborted: the pipeline ends"
        self._changes.append(ended(name, StepOutcome.ABORTED, reason, at=self._now()))
        self._settle(name, StepOutcome.ABORTED, has_left=True)

    def _pause_s(self, spec: StepSpec, outcome: StepOutcome) -> float | None:
        """How long to wait before the next attempt; None if there is none."""
        if self._schedule.is_stopped or self._tries[spec.name] > spec.retry.attempts:
            return None
        if outcome.value not in {Outcome(each).value for each in spec.retry.on}:
            return None
        return backoff_s(spec.retry, self._tries[spec.name])

    def _note_end(self, attempt: Attempt, end: AttemptEnd, *, is_retried: bool) -> None:
        name = attempt.step
        if end.outcome not in GOOD:
            log.warning("step_ended", step=name, outcome=end.outcome, reason=end.reason)
        self._changes.append(
            ended(
                name, end.outcome, end.reason, at=self._now(), report=end.report,
                is_retried=is_retried,
            )
        )  # fmt: skip
        folder = attempt_folder(name, self._attempts[name])
        self._note_left(name, end.outcome, folder=folder, report=end.report)

    # --- what an end means for others ------------------------------------------------------------

    def _settle(self, name: str, outcome: StepOutcome, *, has_left: bool = False) -> None:
        was_stopped = self._schedule.is_stopped
        settled = self._schedule.end(name, outcome, has_left=has_left)
        for each in settled:
            self._changes.append(ended(each.step, each.outcome, each.reason, at=self._now()))
            self._note_left(each.step, each.outcome)
        if self._schedule.is_stopped and not was_stopped:  # fail_fast
            self._abort_running()

    def _settle_all(self, reason: str) -> None:
        for each in self._schedule.stop(reason):
            self._changes.append(ended(each.step, each.outcome, each.reason, at=self._now()))

    def _abort_running(self) -> None:
        for name in self._schedule.running:
            self._stops[name].wish("aborted")

    async def _flush(self) -> None:
        """Put what has happened on disk, then tell who wants to know; one after another."""
        async with self._telling:
            changes, self._changes = self._changes, []
            self._store.write(changes)
            for watcher in self._watchers:
                await watcher.tell(changes)

    def _reason(self) -> str | None:
        culprits = self._schedule.culprits
        if not culprits:
            return None
        shown = ", ".join(
            f"{name} ({self._schedule.outcome(name)})" for name in culprits[:MAX_CULPRITS]
        )
        more = len(culprits) - MAX_CULPRITS
        return f"steps_failed: {shown}" + (f" and {more} more" if more > 0 else "")

    def _note_left(
        self,
        name: str,
        outcome: StepOutcome,
        *,
        folder: str | None = None,
        report: StepReport | None = None,
    ) -> None:
        self._left[name] = cache(
            partial(left_by, self._run_folder, name, outcome=outcome, folder=folder, report=report)
        )
