"""Requests to the service `executor`: one function for each, found in one table by its type.

A handler gets the desk, the request and who asks, as the broker vouches for it and as far as
`protocol.access` allows; it returns the response, or raises a `RequestRefused` whose code travels.
To add a request: a message in `protocol/messages.py`, what it takes in `protocol/access.py`, a
function here, a line in `HANDLERS`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from pydantic import ValidationError

from intendant import __version__
from intendant.broker.worker import Request
from intendant.errors import (
    IllegalTransition,
    InternalError,
    InvalidRequest,
    RequestRefused,
    RunUnreadable,
    ShuttingDown,
    StaleAttempt,
    StoreError,
)
from intendant.executor.access import Asker, admit
from intendant.executor.answers import fitting
from intendant.executor.bases import require_origin, with_bases, without_state
from intendant.executor.desk import Desk
from intendant.executor.explain import Surroundings, explain
from intendant.executor.lifecycle import Order
from intendant.executor.parts import utc_now
from intendant.executor.queues import (
    on_queue_list,
    on_queue_pause,
    on_queue_remove,
    on_queue_resume,
    on_queue_set,
)
from intendant.executor.results import read_result
from intendant.executor.retention import forget, sweep
from intendant.executor.selecting import select, select_one, selection_of
from intendant.executor.stop import Stop
from intendant.executor.trials import on_trial_add, on_trial_list, on_trial_stop
from intendant.executor.troubles import in_a_line
from intendant.problems import Problem, problems_of
from intendant.process.crashpoints import crash_point
from intendant.protocol.bulk import LARGE, uncollected_if
from intendant.protocol.executor_states import Cause
from intendant.protocol.fields import NEW
from intendant.protocol.messages import (
    EXECUTOR_REQUEST,
    ErrorResponse,
    Message,
    QueueListRequest,
    QueuePauseRequest,
    QueueRemoveRequest,
    QueueResumeRequest,
    QueueSetRequest,
    RunCancelRequest,
    RunCancelResponse,
    RunChangeResponse,
    RunExplainRequest,
    RunFinishedRequest,
    RunFinishedResponse,
    RunHoldRequest,
    RunListRequest,
    RunListResponse,
    RunNoteRequest,
    RunNoteResponse,
    RunPriorityRequest,
    RunPruneRequest,
    RunPruneResponse,
    RunReleaseRequest,
    RunResultRequest,
    RunResultResponse,
    RunRetryRequest,
    RunRetryResponse,
    RunShowRequest,
    RunShowResponse,
    RunStepsRequest,
    RunStepsResponse,
    RunSubmitRequest,
    RunSubmitResponse,
    ShutdownRequest,
    ShutdownResponse,
    StatusRequest,
    StatusResponse,
    TrialAddRequest,
    TrialListRequest,
    TrialStopRequest,
    encode,
)
from intendant.protocol.records import DaemonRecord, HelperRecord, RunRecord, UnreadableRun
from intendant.protocol.redaction import with_secrets_apart
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.step_records import cut_off
from intendant.store.base import Changed
from intendant.store.steps import STEPS_FILE, read_step_page

log = structlog.get_logger()

MAX_REASON = 200


async def answer(desk: Desk, request: Request) -> list[bytes]:
    """The response to one request, as it travels. Never raises for what a client sent."""
    message: Message | None = None
    try:
        message = parse(EXECUTOR_REQUEST, request.body)
        who = admit(message, request.caller)
        response = await HANDLERS[type(message)](desk, message, who)
    except (RequestRefused, IllegalTransition, StoreError) as error:
        response = refused(error)
        if isinstance(error, RequestRefused):
            desk.audit.note(error, request.caller, message)
    return response if isinstance(response, list) else [encode(response)]


def parse(adapter: Any, body: list[bytes]) -> Any:
    """The message in a request's only frame; `InvalidRequest` names what is wrong with it."""
    if len(body) != 1:
        raise InvalidRequest(f"a request has {len(body)} frames; expected one, of JSON")
    try:
        with uncollected_if(len(body[0]) > LARGE):
            return adapter.validate_json(body[0], context=NEW)
    except ValidationError as error:
        raise InvalidRequest("; ".join(map(_told, problems_of(error)[:10]))) from None


_SECRET = frozenset({"secrets", "env", "environment", "token"})
"""What is found there is not said again: a client may call it secret, or a server."""


def _told(problem: Problem) -> str:
    if not _SECRET.intersection(problem.key):
        return problem.line("")
    if "secrets" in problem.key:
        return "secrets: not usable"
    found, comma, expected = problem.text.partition(", expected ")
    return replace(problem, text=f"expected {expected}" if comma else found).line("")


def refused(error: RequestRefused | IllegalTransition | StoreError) -> ErrorResponse:
    """The response that carries an error to the client."""
    if isinstance(error, RequestRefused):
        return ErrorResponse(code=error.code, message=str(error))
    if isinstance(error, IllegalTransition):  # a run is where the request makes no sense
        return ErrorResponse(code=InvalidRequest.code, message=str(error))
    log.error("request_failed", error=str(error))
    return ErrorResponse(code=InternalError.code, message=f"the store failed: {error}")


async def on_run_submit(desk: Desk, request: RunSubmitRequest, who: Asker) -> Message:
    """Queue runs; they are on disk when the answer leaves."""
    _require_open(desk)
    runs = [await with_bases(desk, with_secrets_apart(run), who) for run in request.runs]
    for run in runs:
        await require_origin(desk, run, who)
    limit = desk.parts.settings.max_queued
    run_ids = await desk.parts.store.submit(
        runs, account=who.account, environment=request.environment, limit=limit,
        for_parents=who.caller.owns_all,
    )  # fmt: skip
    crash_point("executor.submitted")
    return RunSubmitResponse(run_ids=run_ids)


def _require_open(desk: Desk) -> None:
    if not desk.lifecycle.takes_submissions:
        raise ShuttingDown(f"the daemon is {desk.lifecycle.state} and takes no new runs")


async def on_run_list(desk: Desk, request: RunListRequest, who: Asker) -> Message:
    """A page of runs."""
    runs, has_more = await desk.parts.store.runs(
        states=request.states,
        outcomes=request.outcomes,
        queue=request.queue,
        selection=selection_of(request.selection) if request.selection else None,
        limit=request.limit,
        before_id=request.before_id,
        owner=who.owner,
    )
    shown, rest = fitting([_listed(run, who) for run in runs])
    return RunListResponse(runs=shown, has_more=has_more or bool(rest))


def _listed(run: RunRecord | UnreadableRun, who: Asker) -> RunRecord | UnreadableRun:
    return run if isinstance(run, UnreadableRun) else who.shown(run)


async def on_run_show(desk: Desk, request: RunShowRequest, who: Asker) -> Message:
    """One run and its attempts."""
    run_id = await select_one(desk, request.selection, who)
    return RunShowResponse(
        run=who.shown(await desk.parts.store.run(run_id)),
        attempts=await desk.parts.store.attempts(run_id),
        folder=str(desk.parts.spool.run_folder(run_id)),
    )


async def on_run_result(desk: Desk, request: RunResultRequest, who: Asker) -> list[bytes]:
    """How a run ended, and a piece of its result, if it left one."""
    run_id = await select_one(desk, request.selection, who)
    run = await desk.parts.store.run(run_id)
    if run.outcome is None:
        raise InvalidRequest(f"run {run_id} is {run.state}; expected one that has ended")
    folder = desk.parts.spool.attempt(run_id, run.attempt)
    piece = await asyncio.to_thread(read_result, folder, run.spec.workload, request.offset)
    response = RunResultResponse(
        run_id=run_id,
        attempt=run.attempt,
        outcome=run.outcome,
        reason=run.reason,
        exit_code=run.exit_code,
        encoding=piece.encoding,
        offset=request.offset,
        size=piece.size,
    )
    return [encode(response), piece.data]


async def on_run_steps(desk: Desk, request: RunStepsRequest, who: Asker) -> Message:
    """A page of a pipeline's steps."""
    run_id = await select_one(desk, request.selection, who)
    folder = desk.parts.spool.run_folder(run_id)
    run = await desk.parts.store.run(run_id)
    page = await asyncio.to_thread(read_step_page, folder / STEPS_FILE, offset=request.offset)
    steps = page.steps
    if run.state is RunState.ENDED:  # as it was before its steps were read
        steps = [cut_off(step, at=run.finished_at) for step in steps]
    return RunStepsResponse(run_id=run_id, folder=str(folder), steps=steps, total=page.total)


async def on_run_explain(desk: Desk, request: RunExplainRequest, who: Asker) -> Message:
    """Why a run waits, or what it does."""
    run_id = await select_one(desk, request.selection, who)
    is_open = [queue.name for queue in desk.queues.values() if not queue.paused]
    found = await desk.parts.store.circumstances(run_id, queues=is_open)
    supervision = desk.live.get(run_id)
    return explain(
        found,
        Surroundings(
            now=utc_now(),
            state=desk.lifecycle.state,
            slots=desk.parts.settings.slots,
            queues=desk.queues,
            live=desk.live_by_queue(),
            parents=len(desk.parents()),
            max_parents=desk.parts.settings.max_parents,
            is_supervised=supervision is not None,
            is_present=supervision is None or supervision.is_present,
            trouble=desk.parts.troubles.of(run_id),
        ),
    )


async def on_run_cancel(desk: Desk, request: RunCancelRequest, who: Asker) -> Message:
    """Record the wish and pass it on to the runs that live: a disk that fails keeps none alive."""
    run_ids = await select(desk, request.selection, who)
    reason = f"cancelled: by {who.account}"
    if request.reason:
        reason += f": {request.reason[:MAX_REASON]}"
    stop = Stop(Outcome.CANCELLED, reason, now=request.now, grace_s=request.grace_s)
    try:
        result = await desk.parts.store.request_stop(
            run_ids, outcome=Outcome.CANCELLED, reason=reason, only_waiting=request.only_waiting
        )
    except RunUnreadable:  # refused as a whole: no disk has failed
        raise
    except StoreError as error:  # it may be on disk all the same
        desk.stops_wanted.set()
        granted = [] if request.only_waiting else [*filter(desk.is_granted, run_ids)]
        told = _tell(desk, granted, stop)
        if not told:
            raise
        raise _not_recorded(error, told) from error
    crash_point("executor.stop_recorded")
    if not request.only_waiting:
        _tell(desk, [run.id for run in result.runs if run.state is RunState.STOPPING], stop)
    shown, more = _shown(result, who)
    return RunCancelResponse(runs=shown, changed=result.changed, more=more)


def _tell(desk: Desk, run_ids: Collection[int], stop: Stop) -> list[int]:
    """Have those of the runs that live ended; which these are."""
    live = [run_id for run_id in run_ids if run_id in desk.live]
    for run_id in live:
        desk.live[run_id].stop(stop)
    return live


def _not_recorded(error: StoreError, told: Collection[int]) -> StoreError:
    runs = f"{len(told)} {'run that lives is' if len(told) == 1 else 'runs that live are'}"
    return StoreError(f"{error}; {runs} told to end all the same")


async def on_run_hold(desk: Desk, request: RunHoldRequest, who: Asker) -> Message:
    """Keep queued runs from starting."""
    selection = selection_of(request.selection)
    run_ids = await desk.parts.store.select(selection, among_all={RunState.QUEUED}, owner=who.owner)
    result = await desk.parts.store.hold(run_ids, lenient=selection.all)
    shown, more = _shown(result, who)
    return RunChangeResponse(runs=shown, changed=result.changed, more=more)


async def on_run_release(desk: Desk, request: RunReleaseRequest, who: Asker) -> Message:
    """Let held runs start."""
    selection = selection_of(request.selection)
    run_ids = await desk.parts.store.select(selection, among_all={RunState.HELD}, owner=who.owner)
    result = await desk.parts.store.release(run_ids, lenient=selection.all)
    shown, more = _shown(result, who)
    return RunChangeResponse(runs=shown, changed=result.changed, more=more)


async def on_run_priority(desk: Desk, request: RunPriorityRequest, who: Asker) -> Message:
    """Move a run in its queue."""
    run_id = await select_one(desk, request.selection, who)
    result = await desk.parts.store.set_priority(run_id, request.priority)
    shown, more = _shown(result, who)
    return RunChangeResponse(runs=shown, changed=result.changed, more=more)


def _shown(result: Changed, who: Asker) -> tuple[list[RunRecord], list[int]]:
    """The runs of a change that one answer holds, and the ids of the others."""
    runs, rest = fitting(result.runs)
    return [*map(who.shown, runs)], [run.id for run in rest]


async def on_run_prune(desk: Desk, request: RunPruneRequest, who: Asker) -> Message:
    """Forget a page of old runs; their folders are gone when the answer leaves."""
    before = utc_now() - timedelta(seconds=request.older_s)
    selection = selection_of(request.selection) if request.selection else None
    if request.after_id == 0:
        await sweep(desk.parts)
    page = await desk.parts.store.prunable(
        selection, before=before, after_id=request.after_id, owner=who.owner
    )
    # A governor that has told of its end may still be about to go.
    run_ids = [run_id for run_id in page.run_ids if run_id not in desk.live]
    gone = await forget(desk.parts, run_ids, before=before, account=who.account)
    return RunPruneResponse(run_ids=gone, next_after_id=page.next_after_id)


async def on_run_retry(desk: Desk, request: RunRetryRequest, who: Asker) -> Message:
    """Queue runs anew; the new ones are on disk when the answer leaves."""
    _require_open(desk)
    selection = selection_of(request.selection)
    if selection.all:
        raise InvalidRequest("found 'all', expected the runs that are to be tried again by id")
    run_ids = await desk.parts.store.select(selection, owner=who.owner)
    nothing_done: Collection[int] = ()
    if request.continuing is not None:
        nothing_done = await asyncio.to_thread(without_state, desk.parts.spool, run_ids)
    new_ids = await desk.parts.store.retry(
        run_ids,
        account=who.account,
        key=request.retry_key,
        limit=desk.parts.settings.max_queued,
        continuing=request.continuing,
        nothing_done=nothing_done,
    )
    return RunRetryResponse(run_ids=new_ids)


async def on_status(desk: Desk, _request: StatusRequest, who: Asker) -> Message:
    """What the daemon is doing, and how many runs it knows that the asker may know of."""
    parts = desk.parts
    counts = await parts.store.counts(owner=who.owner)
    return StatusResponse(
        daemon=DaemonRecord(
            version=__version__,
            pid=os.getpid(),
            state=desk.lifecycle.state,
            cause=desk.lifecycle.cause,
            started_at=desk.started_at,
            slots=parts.settings.slots,
            live=len(desk.live),
            parents=len(desk.parents()),
            trouble=in_a_line(parts.troubles.all()),
            runs={state: counts.get(state, 0) for state in RunState},
            queues=await parts.store.queues(),
            broker=HelperRecord(pid=parts.broker.pid, restarts=parts.broker.restarts),
            zygote=HelperRecord(pid=parts.launcher.helper_pid, restarts=parts.launcher.restarts),
            launcher=parts.launcher.name,
            tree_method="subreaper" if parts.cgroup_home is None else "cgroup",
            endpoints=parts.broker.bound,
            state_dir=str(parts.state_dir),
            runtime_dir=str(desk.runtime_dir),
        )
    )


async def on_shutdown(desk: Desk, request: ShutdownRequest, who: Asker) -> Message:
    """Accepted at once; the end follows."""
    log.info("shutdown_requested", policy=request.policy, account=who.account)
    order = Order(request.policy, Cause.COMMAND)
    desk.lifecycle.order(order)
    return ShutdownResponse(state=desk.lifecycle.foresee(order))


async def on_run_finished(desk: Desk, request: RunFinishedRequest, who: Asker) -> Message:
    """A governor's last word; what is recorded already is confirmed again."""
    record = request.record
    who.require_attempt(record.run_id, record.attempt)
    supervision = desk.live.get(record.run_id)
    if supervision is not None and supervision.attempt == record.attempt:
        await supervision.finish(request.token, record)
        return RunFinishedResponse()
    attempts = await desk.parts.store.attempts(record.run_id)
    if any(each.attempt == record.attempt and each.finished_at is not None for each in attempts):
        return RunFinishedResponse()
    raise StaleAttempt(f"attempt {record.run_id}.{record.attempt} is not live here")


async def on_run_note(desk: Desk, request: RunNoteRequest, who: Asker) -> Message:
    """A governor's word before the last."""
    who.require_attempt(request.run_id, request.attempt)
    supervision = desk.live.get(request.run_id)
    if supervision is None or supervision.attempt != request.attempt:
        raise StaleAttempt(f"attempt {request.run_id}.{request.attempt} is not live here")
    await supervision.take_note(request.token, request.event)
    return RunNoteResponse()


Handler = Callable[[Desk, Any, Asker], Awaitable[Message | list[bytes]]]
"""Gives the message, or the frames where raw bytes follow it."""

HANDLERS: dict[type[Message], Handler] = {
    RunSubmitRequest: on_run_submit,
    RunListRequest: on_run_list,
    RunShowRequest: on_run_show,
    RunResultRequest: on_run_result,
    RunStepsRequest: on_run_steps,
    TrialListRequest: on_trial_list,
    TrialAddRequest: on_trial_add,
    TrialStopRequest: on_trial_stop,
    RunExplainRequest: on_run_explain,
    RunCancelRequest: on_run_cancel,
    RunHoldRequest: on_run_hold,
    RunReleaseRequest: on_run_release,
    RunPriorityRequest: on_run_priority,
    RunPruneRequest: on_run_prune,
    RunRetryRequest: on_run_retry,
    QueueListRequest: on_queue_list,
    QueueSetRequest: on_queue_set,
    QueuePauseRequest: on_queue_pause,
    QueueResumeRequest: on_queue_resume,
    QueueRemoveRequest: on_queue_remove,
    StatusRequest: on_status,
    ShutdownRequest: on_shutdown,
    RunFinishedRequest: on_run_finished,
    RunNoteRequest: on_run_note,
}
