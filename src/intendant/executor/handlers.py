"""Requests to the service `executor`: one function for each, found in one table by its type.

A handler gets the desk, the request and the account that the broker vouches for; it returns the
response, or raises a `RequestRefused` whose code travels. To add a request: a message in
`protocol/messages.py`, a function here, a line in `HANDLERS`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from pydantic import ValidationError

from intendant import __version__
from intendant.broker.worker import Request
from intendant.errors import (
    InternalError,
    InvalidRequest,
    RequestRefused,
    ShuttingDown,
    StaleAttempt,
    StoreError,
)
from intendant.executor.desk import Desk
from intendant.executor.lifecycle import Order
from intendant.executor.supervise import Stop
from intendant.problems import problems_of
from intendant.process.crashpoints import crash_point
from intendant.protocol.executor_states import Cause
from intendant.protocol.messages import (
    EXECUTOR_REQUEST,
    ErrorResponse,
    Message,
    QueueListRequest,
    QueueListResponse,
    QueuePauseRequest,
    QueueResponse,
    QueueResumeRequest,
    QueueSetRequest,
    RunCancelRequest,
    RunCancelResponse,
    RunFinishedRequest,
    RunFinishedResponse,
    RunListRequest,
    RunListResponse,
    RunNoteRequest,
    RunNoteResponse,
    RunShowRequest,
    RunShowResponse,
    RunSubmitRequest,
    RunSubmitResponse,
    ShutdownRequest,
    ShutdownResponse,
    StatusRequest,
    StatusResponse,
    encode,
)
from intendant.protocol.records import DaemonRecord, HelperRecord
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.selectors import Selection, parse_selection
from intendant.protocol.specs import Submission

log = structlog.get_logger()

NOT_ENDED = frozenset(RunState) - {RunState.ENDED}
MAX_REASON = 200


async def answer(desk: Desk, request: Request) -> list[bytes]:
    """The response to one request, as it travels. Never raises for what a client sent."""
    try:
        message = parse(EXECUTOR_REQUEST, request.body)
        response = await HANDLERS[type(message)](desk, message, request.account)
    except (RequestRefused, StoreError) as error:
        response = refused(error)
    return [encode(response)]


def parse(adapter: Any, body: list[bytes]) -> Any:
    """The message in a request's only frame; `InvalidRequest` names what is wrong with it."""
    if len(body) != 1:
        raise InvalidRequest(f"a request has {len(body)} frames; expected one, of JSON")
    try:
        return adapter.validate_json(body[0])
    except ValidationError as error:
        # Not the values: what a client calls secret stays so.
        lines = [
            problem.line("") if "secrets" not in problem.key else "secrets: not usable"
            for problem in problems_of(error)
        ]
        raise InvalidRequest("; ".join(lines[:10])) from error


def refused(error: RequestRefused | StoreError) -> ErrorResponse:
    """The response that carries an error to the client."""
    if isinstance(error, RequestRefused):
        return ErrorResponse(code=error.code, message=str(error))
    log.error("request_failed", error=str(error))
    return ErrorResponse(code=InternalError.code, message=f"the store failed: {error}")


async def on_run_submit(desk: Desk, request: RunSubmitRequest, account: str) -> Message:
    """Queue runs; they are on disk when the answer leaves."""
    if not desk.lifecycle.takes_submissions:
        raise ShuttingDown(f"the daemon is {desk.lifecycle.state} and takes no new runs")
    runs = [_with_environment(run, request.environment) for run in request.runs]
    run_ids = await desk.parts.store.submit(runs, account=account)
    crash_point("executor.submitted")
    return RunSubmitResponse(run_ids=run_ids)


def _with_environment(run: Submission, environment: str | None) -> Submission:
    """The submission with the environment that all of its request share."""
    if environment is None or run.secrets.environment is not None:
        return run
    secrets = run.secrets.model_copy(update={"environment": environment})
    return run.model_copy(update={"secrets": secrets})


async def on_run_list(desk: Desk, request: RunListRequest, _: str) -> Message:
    """A page of runs."""
    runs, has_more = await desk.parts.store.runs(
        states=request.states,
        outcomes=request.outcomes,
        queue=request.queue,
        selection=selection_of(request.selection) if request.selection else None,
        limit=request.limit,
        before_id=request.before_id,
    )
    return RunListResponse(runs=runs, has_more=has_more)


async def on_run_show(desk: Desk, request: RunShowRequest, _: str) -> Message:
    """One run and its attempts."""
    run_id = await select_one(desk, request.selection)
    return RunShowResponse(
        run=await desk.parts.store.run(run_id),
        attempts=await desk.parts.store.attempts(run_id),
        folder=str(desk.parts.spool.run_folder(run_id)),
    )


async def on_run_cancel(desk: Desk, request: RunCancelRequest, account: str) -> Message:
    """Record the wish, then pass it on to the runs that live."""
    run_ids = await select(desk, request.selection)
    reason = f"cancelled: by {account}"
    if request.reason:
        reason += f": {request.reason[:MAX_REASON]}"
    result = await desk.parts.store.request_stop(run_ids, outcome=Outcome.CANCELLED, reason=reason)
    crash_point("executor.stop_recorded")
    stop = Stop(Outcome.CANCELLED, reason, now=request.now)
    for run in result.runs:
        supervision = desk.live.get(run.id)
        if supervision is not None and run.state is RunState.STOPPING:
            supervision.stop(stop)
    return RunCancelResponse(runs=result.runs, changed=result.changed)


async def on_queue_list(desk: Desk, _request: QueueListRequest, _: str) -> Message:
    """Every queue."""
    return QueueListResponse(queues=await desk.parts.store.queues())


async def on_queue_set(desk: Desk, request: QueueSetRequest, _: str) -> Message:
    """Make a queue or change its slots."""
    queue = await desk.parts.store.queue_set(request.name, slots=request.slots)
    desk.note_queue(queue)
    return QueueResponse(queue=queue)


async def on_queue_pause(desk: Desk, request: QueuePauseRequest, _: str) -> Message:
    """Start nothing more from a queue."""
    queue = await desk.parts.store.queue_pause(request.name, True)
    desk.note_queue(queue)
    return QueueResponse(queue=queue)


async def on_queue_resume(desk: Desk, request: QueueResumeRequest, _: str) -> Message:
    """Start runs from a queue again."""
    queue = await desk.parts.store.queue_pause(request.name, False)
    desk.note_queue(queue)
    return QueueResponse(queue=queue)


async def on_status(desk: Desk, _request: StatusRequest, _: str) -> Message:
    """What the daemon is doing."""
    parts = desk.parts
    counts = await parts.store.counts()
    return StatusResponse(
        daemon=DaemonRecord(
            version=__version__,
            pid=os.getpid(),
            state=desk.lifecycle.state,
            cause=desk.lifecycle.cause,
            started_at=desk.started_at,
            slots=parts.settings.slots,
            live=len(desk.live),
            runs={state: counts.get(state, 0) for state in RunState},
            queues=await parts.store.queues(),
            broker=HelperRecord(pid=parts.broker.pid, restarts=parts.broker.restarts),
            zygote=HelperRecord(pid=parts.launcher.helper_pid, restarts=parts.launcher.restarts),
            launcher=parts.launcher.name,
            tree_method=parts.tree,
            endpoints=parts.broker.bound,
            state_dir=str(parts.state_dir),
            runtime_dir=str(desk.runtime_dir),
        )
    )


async def on_shutdown(desk: Desk, request: ShutdownRequest, account: str) -> Message:
    """Accepted at once; the end follows."""
    log.info("shutdown_requested", policy=request.policy, account=account)
    desk.lifecycle.order(Order(request.policy, Cause.COMMAND))
    return ShutdownResponse(state=desk.lifecycle.state)


async def on_run_finished(desk: Desk, request: RunFinishedRequest, _: str) -> Message:
    """A governor's last word; what is recorded already is confirmed again."""
    record = request.record
    supervision = desk.live.get(record.run_id)
    if supervision is not None and supervision.attempt == record.attempt:
        await supervision.finish(request.token, record)
        return RunFinishedResponse()
    attempts = await desk.parts.store.attempts(record.run_id)
    if any(each.attempt == record.attempt and each.finished_at is not None for each in attempts):
        return RunFinishedResponse()
    raise StaleAttempt(f"attempt {record.run_id}.{record.attempt} is not live here")


async def on_run_note(desk: Desk, request: RunNoteRequest, _: str) -> Message:
    """A governor's word before the last."""
    supervision = desk.live.get(request.run_id)
    if supervision is None or supervision.attempt != request.attempt:
        raise StaleAttempt(f"attempt {request.run_id}.{request.attempt} is not live here")
    await supervision.take_note(request.token, request.event)
    return RunNoteResponse()


Handler = Callable[[Desk, Any, str], Awaitable[Message]]

HANDLERS: dict[type[Message], Handler] = {
    RunSubmitRequest: on_run_submit,
    RunListRequest: on_run_list,
    RunShowRequest: on_run_show,
    RunCancelRequest: on_run_cancel,
    QueueListRequest: on_queue_list,
    QueueSetRequest: on_queue_set,
    QueuePauseRequest: on_queue_pause,
    QueueResumeRequest: on_queue_resume,
    StatusRequest: on_status,
    ShutdownRequest: on_shutdown,
    RunFinishedRequest: on_run_finished,
    RunNoteRequest: on_run_note,
}


def selection_of(texts: list[str]) -> Selection:
    """The parsed selectors, or a refusal that names the part that is none."""
    try:
        return parse_selection(texts)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


async def select(desk: Desk, texts: list[str]) -> list[int]:
    """The runs that selectors mean; `all` are those that have not ended."""
    return await desk.parts.store.select(selection_of(texts), among_all=NOT_ENDED)


async def select_one(desk: Desk, texts: list[str]) -> int:
    """The one run that selectors mean."""
    run_ids = await select(desk, texts)
    if len(run_ids) != 1:
        raise InvalidRequest(f"{','.join(texts)} means {len(run_ids)} runs; expected one")
    return run_ids[0]
