"""Steps as runs of the daemon, each in a named queue; the pipeline waits, and holds no slot.

The daemon may go and come back meanwhile: a run is submitted under a key of its own, so that asking
twice gives the same run, and whoever waits waits again. A pipeline that is to end while no daemon
is there leaves its runs to a later one: where the pipeline has ended for good they are cancelled
with it, and where it starts again it finds them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog

from intendant.client.async_client import AsyncClient, AsyncRun
from intendant.client.shapes import RunInfo
from intendant.errors import PASSING, RequestRefused, ShuttingDown
from intendant.protocol.pipelines import child_key
from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import LEFT_BEHIND, STEP_TARGET, StepOutcome
from intendant.store.disk import put_file
from intendant.workloads.pipeline.processes import (
    MAX_REPORT_BYTES,
    Attempt,
    AttemptEnd,
    Stop,
    read_report,
)
from intendant.workloads.pipeline.step_run import REPORT_FILE

log = structlog.get_logger()

T = TypeVar("T")

ORDER_FILE = "order.json"
_PASSING = (*PASSING, ShuttingDown)
"""The daemon is busy, down, or about to be: a later one goes on."""
_REACH_S = 2.0
"""How long a daemon may take to answer that it ends a run."""
_PAUSE_S = 0.1
_PAUSE_MAX_S = 5.0

_OUTCOMES = {
    "succeeded": StepOutcome.SUCCEEDED,
    "failed": StepOutcome.FAILED,
    "timed_out": StepOutcome.TIMED_OUT,
    "cancelled": StepOutcome.ABORTED,
    "interrupted": StepOutcome.FAILED,
}


class RunsRunner:
    """A run of the daemon for each step."""

    def __init__(self, label: str) -> None:
        self._run_id = label.partition(".")[0]
        self._client: AsyncClient | None = None

    async def run(self, attempt: Attempt, stop: Stop) -> AttemptEnd:
        """Carry the attempt out in a run; return at that one's end.

        Where the end is wished and no daemon answers in time, return without it.
        """
        self._client = self._client or AsyncClient(os.environ["INTENDANT_ENDPOINT"])
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as patience:
                with stop.ending(lambda: patience.reschedule(loop.time() + _REACH_S)):
                    run = await _insist(lambda: self._submit(attempt))
                    attempt.note_run(run.id)
                    info = await self._follow(run, attempt, stop, patience)
        except RequestRefused as error:
            return AttemptEnd(StepOutcome.FAILED, f"refused: {error}")
        except TimeoutError:
            return AttemptEnd(StepOutcome.ABORTED, LEFT_BEHIND)
        return _judge(attempt, info, stop)

    async def _follow(
        self, run: AsyncRun, attempt: Attempt, stop: Stop, patience: asyncio.Timeout
    ) -> RunInfo:
        """The run once it has ended, by itself or because that was wished."""
        ending = asyncio.ensure_future(self._end_when_wished(run, attempt, stop, patience))
        try:
            return await _insist(run.wait)
        finally:
            ending.cancel()
            with suppress(asyncio.CancelledError):
                await ending

    async def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()

    async def _submit(self, attempt: Attempt) -> AsyncRun:
        assert self._client is not None  # noqa: S101  made before
        folder = Path(attempt.order["folder"])
        order = folder / ORDER_FILE
        text = json.dumps({**attempt.order, "is_alone": False})
        # A run that is found again may be reading it.
        await asyncio.to_thread(put_file, order, text.encode())
        key = child_key(int(self._run_id), attempt.step, folder.name)
        return await self._client.submit(self._spec(attempt, order), key=key)

    def _spec(self, attempt: Attempt, order: Path) -> dict[str, object]:
        workload = {
            "kind": "call", "target": STEP_TARGET, "args": [str(order)],
            "cwd": attempt.order["cwd"], "python": sys.executable,
        }  # fmt: skip
        spec: dict[str, object] = {
            "name": f"{self._run_id}/{attempt.step}",
            "queue": attempt.queue,
            "priority": attempt.priority,
            "workload": workload,
            "grace_s": attempt.grace_s,
        }
        return spec if attempt.timeout_s is None else {**spec, "timeout_s": attempt.timeout_s}

    async def _end_when_wished(
        self, run: AsyncRun, attempt: Attempt, stop: Stop, patience: asyncio.Timeout
    ) -> None:
        """Have the run ended; then wait for that as long as it takes."""
        await stop.wait()
        client = self._client
        assert client is not None  # noqa: S101  made before
        reason = f"the pipeline of run {self._run_id} ends"
        await _insist(lambda: client.cancel(run.id, reason=reason, grace_s=attempt.grace_s))
        if not patience.expired():  # it may be over in this very turn of the loop
            patience.reschedule(None)


def _judge(attempt: Attempt, info: RunInfo, stop: Stop) -> AttemptEnd:
    """How the attempt ended: as its run did, and with its own report."""
    outcome = _OUTCOMES[str(info["outcome"])]
    report = _report_of(attempt)
    if stop.why is not None and outcome is StepOutcome.ABORTED:
        return AttemptEnd(outcome, "aborted: the pipeline ends", report)
    if outcome is StepOutcome.SUCCEEDED:
        if report is None:
            return AttemptEnd(StepOutcome.FAILED, "no_result")
        return AttemptEnd(StepOutcome(report.outcome), report.reason, report)
    return AttemptEnd(outcome, info["reason"], report)


def _report_of(attempt: Attempt) -> StepReport | None:
    """What the step has said in its folder."""
    try:
        with Path(attempt.order["folder"], REPORT_FILE).open("rb") as file:
            return read_report(file.read(MAX_REPORT_BYTES))
    except OSError:
        return None


async def _insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the daemon is there for it; what bounds it is the pipeline's own time limit."""
    pause_s = _PAUSE_S
    while True:
        try:
            return await ask()
        except _PASSING as error:
            log.warning("daemon_not_reached", error=str(error), retry_in_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _PAUSE_MAX_S)
