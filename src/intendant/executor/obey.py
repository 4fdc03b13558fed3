"""Carrying out orders to end the daemon, until it may go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import structlog

from intendant.errors import Busy, StoreError
from intendant.executor.desk import Desk
from intendant.executor.lifecycle import ENDING, Order
from intendant.executor.on_end import EndCommands
from intendant.executor.service import ServiceReport
from intendant.executor.stop import DAEMON_STOPPING, Stop
from intendant.executor.supervise import Supervision
from intendant.process.waits import first_of
from intendant.protocol.executor_states import Cause, ExecutorEvent, ExecutorState
from intendant.protocol.run_states import Outcome
from intendant.store.base import Store

log = structlog.get_logger()

BY_CTRL_C = "cancelled: by Ctrl-C"
KILLING_S = 5.0
"""How long killing every run may take: what can't be ended or recorded by then, recovery will."""
STOP_RECORDED_S = 0.5
"""How long runs that are to be stopped wait for the disk to say so first."""


async def obey_orders(
    desk: Desk, on_end: EndCommands, report: ServiceReport, tasks: asyncio.TaskGroup
) -> None:
    """Return once the daemon may go: every run is at its end, or is to be left."""
    lifecycle = desk.lifecycle
    deadline: float | None = None
    stops: list[asyncio.Task[None]] = []
    while lifecycle.state is not ExecutorState.EXITED:
        try:
            async with asyncio.timeout_at(deadline):
                order = await _next_order(desk, on_end)
        except TimeoutError:
            log.critical("runs_left_to_recovery", run_ids=sorted(desk.live))
            order = None
        if order is None:
            lifecycle.on(ExecutorEvent.DONE)
            continue
        before, now = lifecycle.state, lifecycle.obey(order)
        if now is not ExecutorState.DRAINING:  # who drains has time for a disk to work again
            desk.parts.troubles.hurry()
        report.note_change()
        if now is not before and now in (ExecutorState.STOPPING, ExecutorState.KILLING):
            is_hurried = now is ExecutorState.KILLING
            report.stopping()
            if is_hurried:
                on_end.give_up()
                deadline = asyncio.get_running_loop().time() + KILLING_S
            stop = _stop_runs(desk, now=is_hurried)
            stops.append(tasks.create_task(stop, name=f"stop-{now}"))
    for task in stops:
        task.cancel()
    report.stopping()


async def _next_order(desk: Desk, on_end: EndCommands) -> Order | None:
    """The next order; `None` once the daemon is ending, no run is left, and that has been told."""
    lifecycle = desk.lifecycle
    while True:
        desk.slot_freed.clear()
        if (order := lifecycle.take_order()) is not None:
            return order
        if lifecycle.state not in ENDING or desk.live:
            await first_of(lifecycle.wait_order(), desk.slot_freed.wait())
        elif on_end.is_over:
            return None
        else:
            await first_of(lifecycle.wait_order(), on_end.wait_over())


async def _stop_runs(desk: Desk, *, now: bool) -> None:
    """End every live run, all at once; what is queued stays queued.

    Who ended them is recorded first, but a disk that takes its time keeps no run alive.
    """
    stop = Stop(
        Outcome.INTERRUPTED, f"{DAEMON_STOPPING}: {desk.lifecycle.cause}", now=now, is_final=now
    )
    stops = dict.fromkeys(desk.live.values(), stop)
    try:
        async with asyncio.timeout(0 if now else STOP_RECORDED_S):
            for supervision in await _cancelled(desk):
                stops[supervision] = replace(stop, outcome=Outcome.CANCELLED, reason=BY_CTRL_C)
            await _record(desk.parts.store, stops)
    except TimeoutError:
        log.info("stop_not_recorded_yet")
    except (StoreError, Busy) as error:
        log.error("stop_not_recorded", error=str(error))
    for supervision, one in stops.items():
        supervision.stop(one)


async def _cancelled(desk: Desk) -> list[Supervision]:
    """The live runs that Ctrl-C on `intendant run` is about: there a person ends the runs.

    Not those that are restartable, which the same state folder goes on with.
    """
    if not (desk.parts.is_embedded and desk.lifecycle.cause is Cause.SIGINT):
        return []
    runs = [attempt.run for attempt in await desk.parts.store.live()]
    return [desk.live[run.id] for run in runs if run.id in desk.live and not run.spec.restartable]


async def _record(store: Store, stops: Mapping[Supervision, Stop]) -> None:
    """Put on disk why each run is being stopped."""
    for outcome, reason in {(stop.outcome, stop.reason) for stop in stops.values()}:
        run_ids = [one.run_id for one, stop in stops.items() if stop.outcome is outcome]
        await store.request_stop(run_ids, outcome=outcome, reason=reason)
