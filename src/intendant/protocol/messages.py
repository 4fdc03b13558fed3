"""Requests and responses between clients, executor and run governors, as JSON on the bus.

One discriminated union per direction; `kind` tells the members apart. Fields at their default
are left out on the wire. A response is the FINAL of its request; streams send PARTIALs before.
Log bytes do not travel in JSON: a `LogChunk` is followed by a frame that holds them raw.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from intendant.protocol.executor_states import ExecutorState, Policy
from intendant.protocol.records import (
    AttemptRecord,
    DaemonRecord,
    EventRecord,
    ExitRecord,
    QueueRecord,
    RunRecord,
)
from intendant.protocol.run_states import Outcome, RunNote, RunState
from intendant.protocol.specs import (
    EncodedEnvironment,
    Model,
    QueueName,
    RunSpec,
    Secrets,
    Submission,
    check_dependencies,
)
from intendant.protocol.version import PROTOCOL_VERSION

Selectors = Annotated[
    list[Annotated[str, StringConstraints(max_length=4096)]], Field(min_length=1, max_length=1000)
]
Text = Annotated[str, StringConstraints(max_length=2000)]


class Message(Model):
    """What every message has in common."""

    protocol_version: int = PROTOCOL_VERSION


# --- client → executor, service "executor" -------------------------------------------------------


class RunSubmitRequest(Message):
    """Queue these runs, all or none. Answered after they are on disk.

    `after` names runs of the same request.
    """

    kind: Literal["run_submit_request"] = "run_submit_request"
    runs: list[Submission] = Field(min_length=1, max_length=10_000)
    environment: EncodedEnvironment | None = Field(
        default=None, repr=False, description="of every run here that brings none of its own"
    )

    @model_validator(mode="after")
    def _after_is_sound(self) -> RunSubmitRequest:
        check_dependencies([(run.spec.name, run.spec.after) for run in self.runs])
        return self


class RunSubmitResponse(Message):
    """The ids, in the order of the request."""

    kind: Literal["run_submit_response"] = "run_submit_response"
    run_ids: list[int]


class RunListRequest(Message):
    """Newest first."""

    kind: Literal["run_list_request"] = "run_list_request"
    states: list[RunState] = Field(default_factory=list, description="empty: any")
    outcomes: list[Outcome] = Field(default_factory=list, description="empty: any")
    queue: QueueName | None = None
    selection: list[str] = Field(default_factory=list, max_length=1000, description="empty: any")
    limit: int = Field(default=100, ge=1, le=1000)
    before_id: int | None = Field(default=None, ge=1, description="the next page starts below")


class RunListResponse(Message):
    """One page."""

    kind: Literal["run_list_response"] = "run_list_response"
    runs: list[RunRecord]
    has_more: bool


class RunShowRequest(Message):
    """One run and its attempts."""

    kind: Literal["run_show_request"] = "run_show_request"
    selection: Selectors


class RunShowResponse(Message):
    """The run, its attempts oldest first, and its folder on the daemon's machine."""

    kind: Literal["run_show_response"] = "run_show_response"
    run: RunRecord
    attempts: list[AttemptRecord]
    folder: str


class RunCancelRequest(Message):
    """End these runs; `now` skips the grace. `all` means every run that has not ended."""

    kind: Literal["run_cancel_request"] = "run_cancel_request"
    selection: Selectors
    reason: Text | None = None
    now: bool = False


class RunCancelResponse(Message):
    """Where each run is now; `changed` holds the ids that the request had an effect on."""

    kind: Literal["run_cancel_response"] = "run_cancel_response"
    runs: list[RunRecord]
    changed: list[int]


class QueueListRequest(Message):
    """Every queue."""

    kind: Literal["queue_list_request"] = "queue_list_request"


class QueueListResponse(Message):
    """Every queue, by name."""

    kind: Literal["queue_list_response"] = "queue_list_response"
    queues: list[QueueRecord]


class QueueSetRequest(Message):
    """Make a queue, or change its slots. A smaller number ends nothing."""

    kind: Literal["queue_set_request"] = "queue_set_request"
    name: QueueName
    slots: int = Field(ge=1, le=100_000)


class QueuePauseRequest(Message):
    """Start nothing from this queue until it is resumed."""

    kind: Literal["queue_pause_request"] = "queue_pause_request"
    name: QueueName


class QueueResumeRequest(Message):
    """Start runs from this queue again."""

    kind: Literal["queue_resume_request"] = "queue_resume_request"
    name: QueueName


class QueueResponse(Message):
    """The queue as it is now."""

    kind: Literal["queue_response"] = "queue_response"
    queue: QueueRecord


class StatusRequest(Message):
    """What the daemon is doing."""

    kind: Literal["status_request"] = "status_request"


class StatusResponse(Message):
    """What the daemon is doing."""

    kind: Literal["status_response"] = "status_response"
    daemon: DaemonRecord


class ShutdownRequest(Message):
    """End the daemon; idempotent, and a harder policy may follow a softer one."""

    kind: Literal["shutdown_request"] = "shutdown_request"
    policy: Policy = Policy.STOP


class ShutdownResponse(Message):
    """Accepted; the daemon is in this state now."""

    kind: Literal["shutdown_response"] = "shutdown_response"
    state: ExecutorState


# --- governor → executor, service "executor" -----------------------------------------------------


class RunFinishedRequest(Message):
    """The attempt has ended, its tree is empty, `exit.json` is on disk."""

    kind: Literal["run_finished_request"] = "run_finished_request"
    token: str = Field(repr=False, min_length=1, max_length=200)
    record: ExitRecord


class RunNoteRequest(Message):
    """Something that others should know before the attempt's end."""

    kind: Literal["run_note_request"] = "run_note_request"
    token: str = Field(repr=False, min_length=1, max_length=200)
    run_id: int
    attempt: int
    event: Literal[RunNote.UNKILLABLE]


class RunNoteResponse(Message):
    """Recorded."""

    kind: Literal["run_note_response"] = "run_note_response"


class RunFinishedResponse(Message):
    """Recorded: the governor may go."""

    kind: Literal["run_finished_response"] = "run_finished_response"


# --- executor → governor, service "governor.<run>.<attempt>" -------------------------------------


class RunStartRequest(Message):
    """Claim the attempt and start the workload. Sent again, it gives the same answer."""

    kind: Literal["run_start_request"] = "run_start_request"
    run_id: int
    attempt: int
    spec: RunSpec
    secrets: Secrets = Field(default_factory=Secrets, repr=False)


class RunStartResponse(Message):
    """The workload runs under `pid`; or it could not be started and `error` is the reason."""

    kind: Literal["run_start_response"] = "run_start_response"
    run_id: int
    attempt: int
    pid: int | None = None
    started_at: datetime | None = None
    error: str | None = None


class RunShutdownRequest(Message):
    """Wind the run down; a later one may be harder. `now` skips every grace."""

    kind: Literal["run_shutdown_request"] = "run_shutdown_request"
    run_id: int
    attempt: int
    outcome: Literal["cancelled", "interrupted"]
    reason: str = Field(description="goes into the exit record")
    now: bool = False


class RunShutdownResponse(Message):
    """Accepted; the end is the `RunFinishedRequest`."""

    kind: Literal["run_shutdown_response"] = "run_shutdown_response"
    run_id: int
    attempt: int


# --- client → executor, service "stream" ---------------------------------------------------------


class RunWaitRequest(Message):
    """Each run as it is now, then each as it changes, until all (or any) have ended."""

    kind: Literal["run_wait_request"] = "run_wait_request"
    selection: Selectors
    any: bool = Field(default=False, description="the first that ends is enough")
    changes: bool = Field(default=False, description="every change of state, not the ends alone")


class RunChanged(Message):
    """PARTIAL: a run as it is now."""

    kind: Literal["run_changed"] = "run_changed"
    run: RunRecord


class RunWaitResponse(Message):
    """FINAL: what was waited for has happened; `run_ids` are all that were meant."""

    kind: Literal["run_wait_response"] = "run_wait_response"
    run_ids: list[int]


class LogRequest(Message):
    """The bytes of a run's stdout or stderr from `offset` on.

    `follow`: until the attempt has ended; with no `attempt` named, or `and_later`, until the run
    has, each later attempt's log after the one before.
    """

    kind: Literal["log_request"] = "log_request"
    selection: Selectors
    stream: Literal["stdout", "stderr"] = "stdout"
    attempt: int | None = Field(default=None, ge=1, description="the newest when left out")
    offset: int = Field(default=0, ge=0)
    follow: bool = False
    and_later: bool = Field(default=False, description="`attempt` is only where to go on")


class LogChunk(Message):
    """PARTIAL: `size` bytes at `offset` of this attempt's log, in the frame that follows."""

    kind: Literal["log_chunk"] = "log_chunk"
    attempt: int
    offset: int
    size: int


class LogResponse(Message):
    """FINAL: the log ends here, at least for now."""

    kind: Literal["log_response"] = "log_response"
    attempt: int
    size: int


class EventListRequest(Message):
    """Events after `after_id`, oldest first; `follow` goes on for ever."""

    kind: Literal["event_list_request"] = "event_list_request"
    after_id: int = Field(default=0, ge=0)
    run_ids: list[int] = Field(default_factory=list, max_length=1000, description="empty: any")
    follow: bool = False


class EventBatch(Message):
    """PARTIAL: events in order; an empty one says only that the stream is alive."""

    kind: Literal["event_batch"] = "event_batch"
    events: list[EventRecord] = Field(default_factory=list)


class EventListResponse(Message):
    """FINAL: there are no more, at least for now."""

    kind: Literal["event_list_response"] = "event_list_response"
    last_id: int


class StreamTick(Message):
    """PARTIAL: nothing happened, the stream is alive."""

    kind: Literal["stream_tick"] = "stream_tick"


# --- anybody → client ----------------------------------------------------------------------------


class ErrorResponse(Message):
    """FINAL: refused. `code` is one of `intendant.errors.REFUSALS`."""

    kind: Literal["error_response"] = "error_response"
    code: str
    message: str


ExecutorRequest = Annotated[
    RunSubmitRequest | RunListRequest | RunShowRequest | RunCancelRequest
    | QueueListRequest | QueueSetRequest | QueuePauseRequest | QueueResumeRequest
    | StatusRequest | ShutdownRequest | RunFinishedRequest | RunNoteRequest,
    Field(discriminator="kind"),
]  # fmt: skip
StreamRequest = Annotated[
    RunWaitRequest | LogRequest | EventListRequest, Field(discriminator="kind")
]
GovernorRequest = Annotated[RunStartRequest | RunShutdownRequest, Field(discriminator="kind")]
Response = Annotated[
    RunSubmitResponse | RunListResponse | RunShowResponse | RunCancelResponse | QueueListResponse
    | QueueResponse | StatusResponse | ShutdownResponse | RunFinishedResponse | RunNoteResponse
    | RunStartResponse
    | RunShutdownResponse | RunWaitResponse | LogResponse | EventListResponse | RunChanged
    | LogChunk | EventBatch | StreamTick | ErrorResponse,
    Field(discriminator="kind"),
]  # fmt: skip

EXECUTOR_REQUEST: TypeAdapter[ExecutorRequest] = TypeAdapter(ExecutorRequest)
STREAM_REQUEST: TypeAdapter[StreamRequest] = TypeAdapter(StreamRequest)
GOVERNOR_REQUEST: TypeAdapter[GovernorRequest] = TypeAdapter(GovernorRequest)
RESPONSE: TypeAdapter[Response] = TypeAdapter(Response)


def encode(message: Message) -> bytes:
    """A message as it travels: fields at their default left out, but never kind and version."""
    fields = message.model_dump(mode="json", exclude_defaults=True)
    return _JSON.dump_json({**message.model_dump(include=_ALWAYS), **fields})


_ALWAYS = {"kind", "protocol_version"}
_JSON: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])
