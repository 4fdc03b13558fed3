"""Requests and responses between clients, executor and run governors, as JSON on the bus.

One discriminated union per direction; `kind` tells the members apart. Fields at their default
are left out on the wire. A response is the FINAL of its request; streams send PARTIALs before.
Log bytes do not travel in JSON: a `LogChunk` is followed by a frame that holds them raw.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, TypeAdapter, model_validator

from intendant.protocol.executor_states import ExecutorState, Policy
from intendant.protocol.fields import (
    MAX_DURATION_S,
    KnownRun,
    Model,
    Place,
    Priority,
    QueueName,
)
from intendant.protocol.pipelines import ContinueOrder, StepName
from intendant.protocol.records import (
    AttemptRecord,
    DaemonRecord,
    EventRecord,
    ExitRecord,
    LogLevel,
    LogLine,
    QueueRecord,
    RunRecord,
    UnreadableRun,
)
from intendant.protocol.run_states import Outcome, RunNote, RunState, Situation
from intendant.protocol.specs import (
    EncodedEnvironment,
    RunSpec,
    Secrets,
    Submission,
    check_dependencies,
)
from intendant.protocol.step_records import StepInfo
from intendant.protocol.trial_records import OrderKey, TrialInfo
from intendant.protocol.version import PROTOCOL_VERSION

Selectors = Annotated[
    list[Annotated[str, StringConstraints(max_length=4096)]], Field(min_length=1, max_length=1000)
]
Text = Annotated[str, StringConstraints(max_length=2000)]
Grace = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]


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
    before_id: KnownRun | None = Field(default=None, description="the next page starts below")


class RunListResponse(Message):
    """One page; a run that can't be read is in it all the same, with its `workload` unreadable."""

    kind: Literal["run_list_response"] = "run_list_response"
    runs: list[RunRecord | UnreadableRun]
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


class RunResultRequest(Message):
    """How one run ended, and the result of a call from `offset` on. The run must have ended."""

    kind: Literal["run_result_request"] = "run_result_request"
    selection: Selectors
    offset: Place = 0


class RunResultResponse(Message):
    """The end; the frame that follows holds the bytes of the result from `offset` on, some or all.

    `encoding` is null where there is no result. A pickle may also hold an exception.
    """

    kind: Literal["run_result_response"] = "run_result_response"
    run_id: int
    attempt: int
    outcome: Outcome
    reason: str | None = None
    exit_code: int | None = None
    encoding: Literal["json", "pickle"] | None = None
    offset: int = 0
    size: int = Field(default=0, description="of the whole result, in bytes")


class RunStepsRequest(Message):
    """The steps of one pipeline, in its order, from `offset` on."""

    kind: Literal["run_steps_request"] = "run_steps_request"
    selection: Selectors
    offset: Place = 0


class RunStepsResponse(Message):
    """Steps as they are now, and how many there are; none before the pipeline has started.

    A step's folder is below `folder`, the run's on the daemon's machine.
    """

    kind: Literal["run_steps_response"] = "run_steps_response"
    run_id: int
    folder: str
    steps: list[StepInfo]
    total: int


class TrialListRequest(Message):
    """The trials of one study from `offset` on: by number, or the best first."""

    kind: Literal["trial_list_request"] = "trial_list_request"
    selection: Selectors
    offset: Place = 0
    limit: int = Field(default=200, ge=1, le=200)
    best_first: bool = False


class TrialListResponse(Message):
    """Trials as they are now; how many there are of each outcome, or state if they go on."""

    kind: Literal["trial_list_response"] = "trial_list_response"
    run_id: int
    folder: str = Field(description="the run's, on the daemon's machine; checkpoints are below it")
    metric: str
    mode: Literal["min", "max"]
    further_metrics: dict[str, Literal["min", "max"]] = Field(default_factory=dict)
    trials: list[TrialInfo]
    counts: dict[str, int]
    total: int


class TrialAddRequest(Message):
    """One more trial for a study, with these parameters; the same key is the same trial."""

    kind: Literal["trial_add_request"] = "trial_add_request"
    selection: Selectors
    params: dict[str, JsonValue]
    key: OrderKey


class TrialStopRequest(Message):
    """End some trials of a study on a person's behalf; without numbers the study, which is kept."""

    kind: Literal["trial_stop_request"] = "trial_stop_request"
    selection: Selectors
    numbers: list[Place] = Field(default_factory=list, max_length=1000)
    key: OrderKey


class TrialOrderResponse(Message):
    """The order is on disk; the study acts on it when it runs."""

    kind: Literal["trial_order_response"] = "trial_order_response"
    run_id: int


class RunExplainRequest(Message):
    """Why one run waits, or what it does."""

    kind: Literal["run_explain_request"] = "run_explain_request"
    selection: Selectors


class RunExplainResponse(Message):
    """`code` for programs, `text` for people: all reasons there are, the first gave the code."""

    kind: Literal["run_explain_response"] = "run_explain_response"
    run_id: int
    state: RunState
    code: Situation
    text: str
    since: datetime = Field(description="since when it is so")
    until: datetime | None = Field(default=None, description="when it changes by itself")
    waits_for: list[int] = Field(default_factory=list, description="runs that it depends on")


class RunCancelRequest(Message):
    """End these runs; `now` skips the grace. `all` means every run that has not ended.

    `only_waiting` leaves alone what has an attempt already.
    """

    kind: Literal["run_cancel_request"] = "run_cancel_request"
    selection: Selectors
    reason: Text | None = None
    now: bool = False
    grace_s: Grace | None = Field(default=None, description="instead of the graces of the spec")
    only_waiting: bool = False


class RunCancelResponse(Message):
    """Where each run is now; `changed` holds the ids that the request had an effect on."""

    kind: Literal["run_cancel_response"] = "run_cancel_response"
    runs: list[RunRecord]
    changed: list[int]
    more: list[int] = Field(
        default_factory=list, description="runs that were meant too and did not fit: list them"
    )


class RunHoldRequest(Message):
    """Keep queued runs from starting. `all` means every run that is queued."""

    kind: Literal["run_hold_request"] = "run_hold_request"
    selection: Selectors


class RunReleaseRequest(Message):
    """Let held runs start. `all` means every run that is held."""

    kind: Literal["run_release_request"] = "run_release_request"
    selection: Selectors


class RunPriorityRequest(Message):
    """Move one run in its queue; of a live one, its next attempts."""

    kind: Literal["run_priority_request"] = "run_priority_request"
    selection: Selectors
    priority: Priority


class RunChangeResponse(Message):
    """Where each run is now; `changed` holds the ids that the request had an effect on."""

    kind: Literal["run_change_response"] = "run_change_response"
    runs: list[RunRecord]
    changed: list[int]
    more: list[int] = Field(
        default_factory=list, description="runs that were meant too and did not fit: list them"
    )


class RunPruneRequest(Message):
    """Forget runs that ended so long ago, and remove their folders; a page of them at a time.

    What an unfinished run depends on is kept. The events stay, one `pruned` for each run is added.
    """

    kind: Literal["run_prune_request"] = "run_prune_request"
    older_s: float = Field(ge=0, le=MAX_DURATION_S, allow_inf_nan=False)
    selection: list[str] = Field(default_factory=list, max_length=1000, description="empty: any")
    after_id: Place = Field(default=0, description="where the page before ended")


class RunPruneResponse(Message):
    """The runs that are gone."""

    kind: Literal["run_prune_response"] = "run_prune_response"
    run_ids: list[int]
    next_after_id: int | None = Field(default=None, description="where to go on; null: at the end")


class RunRetryRequest(Message):
    """Queue the same specs, with the same secrets, as new runs; only of runs that have ended.

    A new run waits for the new ones of those it came after; what it came after besides counts as
    done. `all` means nothing here.
    """

    kind: Literal["run_retry_request"] = "run_retry_request"
    selection: Selectors
    retry_key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        default=None, description="the same key again gives the same new runs"
    )
    continuing: ContinueOrder | None = Field(
        default=None, description="of pipelines: keep the steps that were done"
    )


class RunRetryResponse(Message):
    """The new ids, in the order of the old ones, ascending."""

    kind: Literal["run_retry_response"] = "run_retry_response"
    run_ids: list[int]


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
    slots: int | None = Field(
        default=None, ge=1, le=100_000, description="null: as many as the daemon has"
    )


class QueuePauseRequest(Message):
    """Start nothing from this queue until it is resumed."""

    kind: Literal["queue_pause_request"] = "queue_pause_request"
    name: QueueName


class QueueResumeRequest(Message):
    """Start runs from this queue again."""

    kind: Literal["queue_resume_request"] = "queue_resume_request"
    name: QueueName


class QueueRemoveRequest(Message):
    """Remove a queue that has no runs, not even ended ones, and that no live pipeline needs."""

    kind: Literal["queue_remove_request"] = "queue_remove_request"
    name: QueueName


class QueueResponse(Message):
    """The queue as it is now, or as it was when it was removed."""

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
    """Accepted; this is the state that it leads to."""

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
    """Wind the run down; a later one may be harder. `now` skips every grace.

    `grace_s` stands for the graces of the run's spec.
    """

    kind: Literal["run_shutdown_request"] = "run_shutdown_request"
    run_id: int
    attempt: int
    outcome: Literal["cancelled", "interrupted"]
    reason: str = Field(description="goes into the exit record")
    now: bool = False
    grace_s: Grace | None = None


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


class RunsChanged(Message):
    """PARTIAL: runs as they are now, in the order of their changes."""

    kind: Literal["runs_changed"] = "runs_changed"
    runs: list[RunRecord] = Field(min_length=1)


class RunWaitResponse(Message):
    """FINAL: what was waited for has happened; `run_ids` are all that were meant."""

    kind: Literal["run_wait_response"] = "run_wait_response"
    run_ids: list[int]


class StepWatchRequest(Message):
    """Each step of one pipeline as it is now, then each as it changes, until the run has ended."""

    kind: Literal["step_watch_request"] = "step_watch_request"
    selection: Selectors


class StepsChanged(Message):
    """PARTIAL: steps as they are now, without their reports."""

    kind: Literal["steps_changed"] = "steps_changed"
    steps: list[StepInfo] = Field(min_length=1)


class StepWatchResponse(Message):
    """FINAL: the run has ended."""

    kind: Literal["step_watch_response"] = "step_watch_response"
    run_id: int


class LogRequest(Message):
    """The bytes of a run's stdout or stderr from `offset` on, or of a step's in a pipeline.

    `follow`: until the attempt has ended; with no `attempt` named, or `and_later`, until the run
    has, each later attempt's log after the one before.
    """

    kind: Literal["log_request"] = "log_request"
    selection: Selectors
    stream: Literal["stdout", "stderr"] = "stdout"
    attempt: int | None = Field(default=None, ge=1, description="the newest when left out")
    offset: Place = 0
    follow: bool = False
    and_later: bool = Field(default=False, description="`attempt` is only where to go on")
    step: StepName | None = Field(
        default=None, description="of a pipeline: `attempt` is this step's then"
    )


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
    after_id: Place = 0
    run_ids: list[int] = Field(default_factory=list, max_length=1000, description="empty: any")
    selection: list[str] = Field(
        default_factory=list, max_length=1000, description="these too; pruned runs are still known"
    )
    follow: bool = False
    from_now: bool = Field(
        default=False, description="only what is to come; the FINAL says where that begins"
    )


class EventBatch(Message):
    """PARTIAL: events in order; an empty one says only that the stream is alive."""

    kind: Literal["event_batch"] = "event_batch"
    events: list[EventRecord] = Field(default_factory=list)


class EventListResponse(Message):
    """FINAL: there are no more, at least for now."""

    kind: Literal["event_list_response"] = "event_list_response"
    last_id: int


class SystemLogRequest(Message):
    """What daemon and governors have logged, by time; `follow` goes on for ever.

    Without a `selection` the governors of live and recent runs are meant, and the daemon itself.
    """

    kind: Literal["system_log_request"] = "system_log_request"
    selection: list[str] = Field(default_factory=list, max_length=1000)
    level: LogLevel = Field(default="debug", description="this level and what is above it")
    after: datetime | None = Field(default=None, description="from this moment on, it included")
    follow: bool = False


class SystemLogBatch(Message):
    """PARTIAL: lines in the order of their times."""

    kind: Literal["system_log_batch"] = "system_log_batch"
    lines: list[LogLine]


class SystemLogResponse(Message):
    """FINAL: there are no more, at least for now."""

    kind: Literal["system_log_response"] = "system_log_response"


class StreamTick(Message):
    """PARTIAL: nothing happened, the stream is alive.

    A stream that was asked for with `last` begins with one that says which run that is.
    """

    kind: Literal["stream_tick"] = "stream_tick"
    last: int | None = Field(default=None, ge=1, description="the run that `last` means here")


# --- anybody → client ----------------------------------------------------------------------------


class ErrorResponse(Message):
    """FINAL: refused. `code` is one of `intendant.errors.REFUSALS`."""

    kind: Literal["error_response"] = "error_response"
    code: str
    message: str


ExecutorRequest = Annotated[
    RunSubmitRequest | RunListRequest | RunShowRequest | RunResultRequest | RunStepsRequest
    | TrialListRequest | TrialAddRequest | TrialStopRequest | RunExplainRequest | RunCancelRequest
    | RunHoldRequest | RunReleaseRequest | RunPriorityRequest | RunPruneRequest | RunRetryRequest
    | QueueListRequest | QueueSetRequest | QueuePauseRequest | QueueResumeRequest
    | QueueRemoveRequest
    | StatusRequest | ShutdownRequest | RunFinishedRequest | RunNoteRequest,
    Field(discriminator="kind"),
]  # fmt: skip
StreamRequest = Annotated[
    RunWaitRequest | StepWatchRequest | LogRequest | EventListRequest | SystemLogRequest,
    Field(discriminator="kind"),
]
GovernorRequest = Annotated[RunStartRequest | RunShutdownRequest, Field(discriminator="kind")]
Response = Annotated[
    RunSubmitResponse | RunListResponse | RunShowResponse | RunResultResponse | RunStepsResponse
    | TrialListResponse | TrialOrderResponse | RunExplainResponse | RunCancelResponse
    | RunChangeResponse | RunPruneResponse | RunRetryResponse | QueueListResponse
    | QueueResponse | StatusResponse | ShutdownResponse | RunFinishedResponse | RunNoteResponse
    | RunStartResponse
    | RunShutdownResponse | StepWatchResponse | StepsChanged | RunWaitResponse | LogResponse
    | EventListResponse | RunsChanged | LogChunk | EventBatch | SystemLogBatch | SystemLogResponse
    | StreamTick | ErrorResponse,
    Field(discriminator="kind"),
]  # fmt: skip

_LATE = ConfigDict(defer_build=True)  # as the messages themselves
EXECUTOR_REQUEST: TypeAdapter[ExecutorRequest] = TypeAdapter(ExecutorRequest, config=_LATE)
STREAM_REQUEST: TypeAdapter[StreamRequest] = TypeAdapter(StreamRequest, config=_LATE)
GOVERNOR_REQUEST: TypeAdapter[GovernorRequest] = TypeAdapter(GovernorRequest, config=_LATE)
RESPONSE: TypeAdapter[Response] = TypeAdapter(Response, config=_LATE)


def encode(message: Message) -> bytes:
    """A message as it travels: fields at their default left out, but never kind and version."""
    always = _always(*(getattr(message, name) for name in _ALWAYS))
    others = message.model_dump_json(exclude=_EXCLUDED, exclude_defaults=True).encode()
    return always if others == b"{}" else always[:-1] + b"," + others[1:]


def encode_start(request: RunStartRequest, spec: str) -> bytes:
    """The same for a start request whose spec is at hand as JSON without defaults."""
    always = _always(*(getattr(request, name) for name in _ALWAYS))
    others = request.model_dump_json(exclude={*_EXCLUDED, "spec"}, exclude_defaults=True).encode()
    return b"".join((always[:-1], b',"spec":', spec.encode(), b",", others[1:]))


_ALWAYS = ("kind", "protocol_version")
_EXCLUDED = set(_ALWAYS)


@lru_cache
def _always(*values: object) -> bytes:
    """What every message of a kind begins with."""
    return _JSON.dump_json(dict(zip(_ALWAYS, values, strict=True)))


_JSON: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])
