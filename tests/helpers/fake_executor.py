"""An executor in memory: checks every request against the models, and runs nothing.

Runs end when a test says so, or at the first `wait` with the ending it was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from intendant.client.client import Client
from intendant.errors import InvalidRequest, RequestRefused, RunNotFound
from intendant.protocol import messages as m
from intendant.protocol.executor_states import ExecutorState
from intendant.protocol.records import (
    AttemptRecord,
    DaemonRecord,
    EventRecord,
    HelperRecord,
    LogLine,
    QueueRecord,
    RunRecord,
)
from intendant.protocol.run_states import Outcome, RunState, Situation
from intendant.protocol.selectors import parse_selection, with_last
from intendant.protocol.specs import Submission
from intendant.protocol.step_records import StepInfo
from intendant.protocol.workloads import CallSpec

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
END = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)

Body = list[bytes]

NOT_ENDED = frozenset(RunState) - {RunState.ENDED}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends."""

    outcome: Outcome = Outcome.SUCCEEDED
    exit_code: int | None = 0
    signal: int | None = None
    reason: str | None = None


SUCCESS = Ending()


@dataclass(slots=True)
class FakeExecutor:
    """Answers requests as the daemon does."""

    ending: Ending | None = SUCCESS
    log: dict[str, bytes] = field(default_factory=dict)
    chunk_size: int = 4
    result: bytes | None = None
    submissions: list[Submission] = field(default_factory=list)
    runs: dict[int, RunRecord] = field(default_factory=dict)
    requests: list[m.ExecutorRequest | m.StreamRequest] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    queues: list[QueueRecord] = field(default_factory=list)
    steps: list[StepInfo] = field(default_factory=list)
    system_log: list[LogLine] = field(default_factory=list)
    refusal: RequestRefused | None = None
    on_shutdown: Callable[[], None] = lambda: None
    _ids: dict[str | None, int] = field(default_factory=dict)

    def answer(self, body: Body) -> Body:
        """The FINAL's body for a request to `executor`."""
        request = m.EXECUTOR_REQUEST.validate_json(body[0])
        self.requests.append(request)
        try:
            if isinstance(request, m.RunResultRequest):
                return self._result(request)
            return [m.encode(self._answer(request))]
        except RequestRefused as error:
            return [m.encode(m.ErrorResponse(code=error.code, message=str(error)))]

    def stream(self, body: Body) -> Iterator[tuple[bool, Body]]:
        """(is_final, body) for a request to `stream`."""
        request = m.STREAM_REQUEST.validate_json(body[0])
        self.requests.append(request)
        try:
            if request.selection and parse_selection(request.selection).last:
                [last] = self._chosen(["last"])
                yield False, [m.encode(m.StreamTick(last=last.id))]
                selection = with_last(request.selection, last.id)
                request = request.model_copy(update={"selection": selection})
            match request:
                case m.RunWaitRequest():
                    yield from self._wait(request)
                case m.StepWatchRequest():
                    [run] = self._chosen(request.selection)
                    yield True, [m.encode(m.StepWatchResponse(run_id=run.id))]
                case m.LogRequest():
                    yield from self._log(request)
                case m.EventListRequest():
                    yield from self._events(request)
                case m.SystemLogRequest():
                    yield from self._system_log(request)
        except RequestRefused as error:
            yield True, [m.encode(m.ErrorResponse(code=error.code, message=str(error)))]

    def end(self, run_id: int, ending: Ending) -> None:
        """Let a run end."""
        self.runs[run_id] = self.runs[run_id].model_copy(
            update={
                "state": RunState.ENDED,
                "outcome": ending.outcome,
                "exit_code": ending.exit_code,
                "signal": ending.signal,
                "reason": ending.reason,
                "attempt": 1,
                "started_at": BEGIN,
                "finished_at": END,
            }
        )

    def _result(self, request: m.RunResultRequest) -> Body:
        [run] = self._chosen(request.selection)
        if run.outcome is None:
            raise InvalidRequest(f"run {run.id} is {run.state}; expected one that has ended")
        workload = run.spec.workload
        is_call = isinstance(workload, CallSpec) and self.result is not None
        response = m.RunResultResponse(
            run_id=run.id,
            attempt=run.attempt,
            outcome=run.outcome,
            reason=run.reason,
            exit_code=run.exit_code,
            encoding=workload.result if isinstance(workload, CallSpec) and is_call else None,
            offset=request.offset,
            size=len(self.result or b"") if is_call else 0,
        )
        piece = (self.result or b"")[request.offset :][: self.chunk_size] if is_call else b""
        return [m.encode(response), piece]

    def _answer(self, request: m.ExecutorRequest) -> m.Message:
        if self.refusal is not None:
            raise self.refusal
        handler: Callable[..., m.Message] = getattr(self, f"_on_{request.kind}")
        return handler(request)

    def _on_run_submit_request(self, request: m.RunSubmitRequest) -> m.Message:
        ids = [self._add(submission) for submission in request.runs]
        return m.RunSubmitResponse(run_ids=ids)

    def _on_run_list_request(self, request: m.RunListRequest) -> m.Message:
        chosen = self._chosen(request.selection) if request.selection else list(self.runs.values())
        found = [
            run
            for run in sorted(chosen, key=lambda run: -run.id)
            if (not request.states or run.state in request.states)
            and (not request.outcomes or run.outcome in request.outcomes)
            and run.queue == (request.queue or run.queue)
            and run.id < (request.before_id or run.id + 1)
        ]
        return m.RunListResponse(runs=found[: request.limit], has_more=len(found) > request.limit)

    def _on_run_show_request(self, request: m.RunShowRequest) -> m.Message:
        run = self._chosen(request.selection)[0]
        attempt = AttemptRecord(
            run_id=run.id,
            attempt=1,
            outcome=run.outcome,
            reason=run.reason,
            exit_code=run.exit_code,
            signal=run.signal,
            granted_at=BEGIN,
            started_at=run.started_at,
            finished_at=run.finished_at,
        )
        return m.RunShowResponse(run=run, attempts=[attempt], folder=f"spool/{run.id}")

    def _on_run_explain_request(self, request: m.RunExplainRequest) -> m.Message:
        [run] = self._chosen(request.selection)
        return m.RunExplainResponse(
            run_id=run.id, state=run.state, code=Situation.NEXT, text="about \x1b[2J", since=BEGIN
        )

    def _on_run_cancel_request(self, request: m.RunCancelRequest) -> m.Message:
        chosen = self._chosen(request.selection)
        changed = [run.id for run in chosen if run.outcome is None]
        for run_id in changed:
            self.end(run_id, Ending(Outcome.CANCELLED, None, None, request.reason))
        return m.RunCancelResponse(runs=[self.runs[run.id] for run in chosen], changed=changed)

    def _on_run_hold_request(self, request: m.RunHoldRequest) -> m.Message:
        return self._change(request.selection, state=RunState.HELD)

    def _on_run_release_request(self, request: m.RunReleaseRequest) -> m.Message:
        return self._change(request.selection, state=RunState.QUEUED)

    def _on_run_priority_request(self, request: m.RunPriorityRequest) -> m.Message:
        return self._change(request.selection, priority=request.priority)

    def _change(self, selection: list[str], **fields: object) -> m.RunChangeResponse:
        chosen = self._chosen(selection)
        for run in chosen:
            self.runs[run.id] = run.model_copy(update=fields)
        now = [self.runs[run.id] for run in chosen]
        return m.RunChangeResponse(
            runs=now, changed=[run.id for run, old in zip(now, chosen, strict=True) if run != old]
        )

    def _on_run_prune_request(self, request: m.RunPruneRequest) -> m.Message:
        """The oldest that has ended, one a page."""
        ended = [i for i, run in self.runs.items() if run.outcome and i > request.after_id]
        for run_id in ended[:1]:
            del self.runs[run_id]
        return m.RunPruneResponse(
            run_ids=ended[:1], next_after_id=ended[0] if len(ended) > 1 else None
        )

    def _on_run_retry_request(self, request: m.RunRetryRequest) -> m.Message:
        specs = {run.id: run.spec for run in self._chosen(request.selection)}
        ids = [
            self._add(
                Submission(
                    spec=spec.model_copy(update={"retry_of": run_id}),
                    submission_key=f"{request.retry_key}/{run_id}",
                )
            )
            for run_id, spec in specs.items()
        ]
        return m.RunRetryResponse(run_ids=ids)

    def _on_queue_list_request(self, request: m.QueueListRequest) -> m.Message:
        return m.QueueListResponse(queues=[_queue("default", None), *self.queues])

    def _on_run_steps_request(self, request: m.RunStepsRequest) -> m.Message:
        [run] = self._chosen(request.selection)
        return m.RunStepsResponse(
            run_id=run.id, folder="/nowhere", steps=self.steps, total=len(self.steps)
        )

    def _on_queue_set_request(self, request: m.QueueSetRequest) -> m.Message:
        return m.QueueResponse(queue=_queue(request.name, request.slots))

    def _on_queue_pause_request(self, request: m.QueuePauseRequest) -> m.Message:
        return m.QueueResponse(queue=_queue(request.name, None, paused=True))

    def _on_queue_resume_request(self, request: m.QueueResumeRequest) -> m.Message:
        return m.QueueResponse(queue=_queue(request.name, None))

    def _on_queue_remove_request(self, request: m.QueueRemoveRequest) -> m.Message:
        return m.QueueResponse(queue=_queue(request.name, None))

    def _on_status_request(self, request: m.StatusRequest) -> m.Message:
        return m.StatusResponse(
            daemon=DaemonRecord(
                version="0.1.0", pid=41, state=ExecutorState.RUNNING, cause=None,
                started_at=BEGIN, slots=2, live=1, runs={RunState.RUNNING: 1},
                queues=[_queue("default", None)], broker=HelperRecord(pid=42, restarts=1),
                zygote=HelperRecord(pid=43, restarts=0), launcher="zygote",
                tree_method="cgroup", endpoints=["ipc://client.sock"], state_dir="state",
                runtime_dir="runtime",
            )
        )  # fmt: skip

    def _on_shutdown_request(self, request: m.ShutdownRequest) -> m.Message:
        self.on_shutdown()
        is_draining = request.policy == "drain"
        state = ExecutorState.DRAINING if is_draining else ExecutorState.STOPPING
        return m.ShutdownResponse(state=state)

    def _wait(self, request: m.RunWaitRequest) -> Iterator[tuple[bool, Body]]:
        chosen = self._chosen(request.selection, among_all=NOT_ENDED)
        for run in chosen:
            yield False, [m.encode(m.RunsChanged(runs=[run]))]
        yield False, [m.encode(m.StreamTick())]
        for run in chosen[: 1 if request.any else None]:
            if run.outcome is None and self.ending is not None:
                self.end(run.id, self.ending)
                yield False, [m.encode(m.RunsChanged(runs=[self.runs[run.id]]))]
        yield True, [m.encode(m.RunWaitResponse(run_ids=[run.id for run in chosen]))]

    def _log(self, request: m.LogRequest) -> Iterator[tuple[bool, Body]]:
        self._chosen(request.selection)
        log = self.log.get(request.stream, b"")
        for offset in range(request.offset, len(log), self.chunk_size):
            data = log[offset : offset + self.chunk_size]
            chunk = m.LogChunk(attempt=request.attempt or 1, offset=offset, size=len(data))
            yield False, [m.encode(m.StreamTick())]
            yield False, [m.encode(chunk), data]
        yield True, [m.encode(m.LogResponse(attempt=request.attempt or 1, size=len(log)))]

    def _events(self, request: m.EventListRequest) -> Iterator[tuple[bool, Body]]:
        after_id = len(self.events) if request.from_now else request.after_id
        wanted = [event for event in self.events if event.id > after_id]
        for event in wanted:
            yield False, [m.encode(m.EventBatch())]
            yield False, [m.encode(m.EventBatch(events=[event]))]
        last_id = wanted[-1].id if wanted else after_id
        yield True, [m.encode(m.EventListResponse(last_id=last_id))]

    def _system_log(self, request: m.SystemLogRequest) -> Iterator[tuple[bool, Body]]:
        for line in self.system_log:
            if request.after is None or line.at >= request.after:
                yield False, [m.encode(m.SystemLogBatch(lines=[line]))]
                yield False, [m.encode(m.StreamTick())]
        yield True, [m.encode(m.SystemLogResponse())]

    def _add(self, submission: Submission) -> int:
        if (known := self._ids.get(submission.submission_key)) is not None:
            return known
        self.submissions.append(submission)
        run_id, spec = len(self.submissions), submission.spec
        self._ids[submission.submission_key] = run_id
        self.runs[run_id] = RunRecord(
            id=run_id, name=spec.name, kind=spec.kind,
            state=RunState.HELD if spec.hold else RunState.QUEUED,
            outcome=None, reason=None, exit_code=None, signal=None, attempt=0,
            queue=spec.queue, priority=spec.priority, account="somebody",
            submitted_at=BEGIN, started_at=None, finished_at=None, spec=spec,
        )  # fmt: skip
        return run_id

    def _chosen(
        self, selection: list[str], *, among_all: Collection[RunState] = tuple(RunState)
    ) -> list[RunRecord]:
        wanted = parse_selection(selection)
        ids = set(wanted.ids)
        ids |= {one for one in self.runs for low, high in wanted.ranges if low <= one <= high}
        if wanted.all:
            ids |= {run_id for run_id, run in self.runs.items() if run.state in among_all}
        ids |= {max(self.runs, default=0)} if wanted.last else set()
        if unknown := ids - set(self.runs):
            missing = min(unknown)
            raise RunNotFound(f"there is no run {missing}" if missing else "no run yet")
        return [self.runs[run_id] for run_id in sorted(ids)]


class FakeConnection:
    """A connection to a `FakeExecutor` in the same process.

    A stream is lost and asked for again after each of `cuts` messages; Ctrl-C comes after
    `interrupt_after`.
    """

    def __init__(
        self,
        executor: FakeExecutor,
        *,
        cuts: tuple[int, ...] = (),
        interrupt_after: int | None = None,
    ) -> None:
        self._executor = executor
        self._cuts = cuts
        self._interrupt_after = interrupt_after
        self.closed = False

    def request(self, service: bytes, body: Body, *, timeout_s: float) -> Body:
        """The FINAL's body."""
        assert timeout_s > 0
        if service == b"stream":
            return next(answer for is_final, answer in self._executor.stream(body) if is_final)
        assert service == b"executor"
        return self._executor.answer(body)

    def stream(
        self, service: bytes, body: Callable[[], Body], *, timeout_s: float | None
    ) -> Iterator[tuple[bool, Body]]:
        """PARTIALs and the FINAL."""
        assert service == b"stream"
        if timeout_s is not None and self._executor.ending is None:
            raise TimeoutError
        for cut in (*self._cuts, None):
            for at, message in enumerate(self._executor.stream(body())):
                if at == self._interrupt_after:
                    raise KeyboardInterrupt
                if at == cut:
                    break
                yield message

    def close(self) -> None:
        """Nothing to give back."""
        self.closed = True


class DroppedClient(Client):
    """A client of fake connections, which may be dropped: there is nothing to give back."""

    def __del__(self) -> None:
        self.close()


def _queue(name: str, slots: int | None, *, paused: bool = False) -> QueueRecord:
    return QueueRecord(name=name, slots=slots, paused=paused, queued=0, live=1)
