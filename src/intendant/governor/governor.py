"""One attempt of a run, from its start request to the exit record.

    start request ─▶ claim ─▶ workload ─▶ its end (or its ending) ─▶ tree empty
          ─▶ exit.json ─▶ finished request ─▶ gone

The claim decides whether this governor may start the workload; the exit record is on disk before
anybody hears of the end. Neither needs the daemon, so a run does not either.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import structlog
from pydantic import ValidationError

from intendant.broker.client import Connection
from intendant.broker.config import KeyPair
from intendant.broker.keys import ClientKeys
from intendant.broker.worker import Request, Worker
from intendant.errors import (
    AccessDenied,
    RequestRefused,
    StaleAttempt,
    Unreachable,
    WorkloadNotStarted,
)
from intendant.governor.escalation import Escalation
from intendant.governor.verdict import StopOrder, Verdict, judge, time_limit_order
from intendant.process.cgroup import Cgroup
from intendant.process.crashpoints import crash_point
from intendant.process.identity import boot_id, open_pidfd, start_time
from intendant.process.line import Line, Reply
from intendant.process.pidfd import Pidfd
from intendant.process.reaper import Reaper
from intendant.process.stub import Stub
from intendant.process.tree import WorkloadTree
from intendant.process.waits import first_of, settled
from intendant.protocol.bulk import LARGE, uncollected_if
from intendant.protocol.environment import decode_environment
from intendant.protocol.fields import HANDED_ON
from intendant.protocol.messages import (
    GOVERNOR_REQUEST,
    ErrorResponse,
    Message,
    RunFinishedRequest,
    RunNoteRequest,
    RunShutdownRequest,
    RunShutdownResponse,
    RunStartRequest,
    RunStartResponse,
    encode,
)
from intendant.protocol.order import GovernorOrder
from intendant.protocol.records import ClaimRecord, ExitRecord, StepRecord
from intendant.protocol.run_states import Outcome, RunNote
from intendant.protocol.specs import RunSpec
from intendant.store.insist import insist
from intendant.store.spool import AttemptFolder
from intendant.workloads.base import Surroundings, Workload
from intendant.workloads.registry import make_workload

log = structlog.get_logger()

NOT_MINE = 75
"""Exit status of a governor that started nothing: the attempt was given up or taken."""
LOST = 70
"""Exit status of a governor whose folder has gone: nobody learns how its attempt ended."""
FINISHED_WAIT_S = 10.0
BUS_AFTER_S = 1.0
"""When an attempt is entered on the bus that can be reached by the line as well."""
_KINDS = tuple(one.model_fields["kind"].default for one in (RunStartRequest, RunShutdownRequest))


class Governor:
    """Owns one attempt. `run()` is its whole life."""

    def __init__(
        self,
        order: GovernorOrder,
        folder: Path,
        *,
        line: Line,
        stub: Stub,
        cgroup: Cgroup | None,
    ) -> None:
        self._order = order
        self._line = line
        self._bus_wanted = asyncio.Event()
        self._folder = AttemptFolder(folder)
        self._token_sha256 = hashlib.sha256(order.token.encode()).hexdigest()
        self._start_asked: asyncio.Future[RunStartRequest] = asyncio.Future()
        self._start_answer: asyncio.Future[RunStartResponse] = asyncio.Future()
        self._stop: StopOrder | None = None
        self._stop_asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._is_winding_down = False
        self._is_abandoned = False
        self._steps: list[StepRecord] = []
        self._started_at: datetime | None = None
        self._stub = stub
        self._cgroup = cgroup

    async def run(self) -> int:
        """Carry the attempt out; the process's exit status."""
        self._on_signals()
        self._line.hear(self._on_question, self._bus_wanted.set)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._aides = [
                tasks.create_task(self._serve_bus(), name="bus"),
                tasks.create_task(self._follow_daemon(), name="daemon"),
            ]
            try:
                return await self._carry_out()
            finally:
                self._line.close()  # so that no more is asked
                for aide in self._aides:
                    aide.cancel()

    # --- what is asked of it ---------------------------------------------------------------------

    def _on_question(self, word: bytes, reply: Reply) -> None:
        """By the line; what is too long for it comes by the bus, as an empty word announces."""
        if word:
            self._aides.append(self._tasks.create_task(self._reply(word, reply), name="reply"))
        else:
            self._bus_wanted.set()
            reply(b"")

    async def _reply(self, word: bytes, reply: Reply) -> None:
        try:
            answer = await self._answer_to(word)
        except Exception:  # the edge around the handlers: one request must not end the run
            log.exception("handler_failed")
            answer = encode(ErrorResponse(code="internal_error", message="the request failed"))
        reply(answer)

    async def _serve_bus(self) -> None:
        """Be found on the bus: by the next daemon, and by this one to see that we are well.

        A run that is over sooner does without, while its daemon is on the line.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(min(BUS_AFTER_S, self._order.heartbeat_s)):
                await self._bus_wanted.wait()
        worker = Worker(
            self._order.endpoint,
            f"{self._order.service}.{self._order.token}".encode(),
            self._answer,
            keys=self._keys(),
            heartbeat_s=self._order.heartbeat_s,
            liveness=self._order.liveness,
        )
        await worker.run()

    async def _answer(self, request: Request) -> list[bytes]:
        """The bus hands requests over one at a time."""
        return [await self._answer_to(request.body[0])]

    async def _answer_to(self, word: bytes) -> bytes:
        try:
            with uncollected_if(len(word) > LARGE):
                message = GOVERNOR_REQUEST.validate_json(word, context=HANDED_ON)
        except ValidationError:  # its words repeat what was found, which may be a run's secrets
            log.warning("request_invalid", request=_kind(word), bytes=len(word))
            return encode(ErrorResponse(code="invalid_request", message="not a known request"))
        try:
            return encode(await self._on_request(message))
        except RequestRefused as error:
            return encode(ErrorResponse(code=error.code, message=str(error)))

    async def _on_request(self, message: RunStartRequest | RunShutdownRequest) -> Message:
        ours = (self._order.run_id, self._order.attempt)
        if (message.run_id, message.attempt) != ours:
            raise StaleAttempt(
                f"this is the governor of attempt {ours[0]}.{ours[1]}, "
                f"the request is about {message.run_id}.{message.attempt}"
            )
        match message:
            case RunStartRequest():
                if not self._start_asked.done():
                    self._start_asked.set_result(message)
                return await asyncio.shield(self._start_answer)
            case RunShutdownRequest():
                outcome = Outcome(message.outcome)
                stop = StopOrder(outcome, message.reason, message.now, message.grace_s)
                self._ask_to_stop(stop)
                return RunShutdownResponse(run_id=ours[0], attempt=ours[1])
            case _:
                assert_never(message)

    def _ask_to_stop(self, stop: StopOrder) -> None:
        """The first order says why; a cancel outranks what the system ordered; any may hurry.

        A grace that has begun is made no longer by one that comes with a later order.
        """
        is_outranked = self._stop is not None and self._stop.outcome is Outcome.INTERRUPTED
        if self._stop is None or (is_outranked and stop.outcome is Outcome.CANCELLED):
            self._stop = stop
        if stop.now:
            self._hurry.set()
        elif stop.grace_s is not None and self._is_winding_down:
            graces_s = self._start_asked.result().spec.graces_s(stop.grace_s)
            asyncio.get_running_loop().call_later(sum(graces_s), self._hurry.set)
        self._stop_asked.set()

    def _on_signals(self) -> None:
        """SIGTERM ends the run in order. None of this reaches the stub, which was forked before."""
        loop = asyncio.get_running_loop()
        ended = StopOrder(Outcome.INTERRUPTED, "governor_terminated: SIGTERM")
        loop.add_signal_handler(signal.SIGTERM, self._ask_to_stop, ended)
        for signum in (signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)  # each handler of the loop's would cost 0.5 ms

    def _keys(self) -> ClientKeys | None:
        """What it connects with, where the endpoint takes keys."""
        if (keys := self._order.keys) is None:
            return None
        return ClientKeys(KeyPair(keys.public_key, keys.secret_key), keys.server_key)

    async def _follow_daemon(self) -> None:
        """End an embedded run when its daemon has gone; and any that has not been asked to start.

        Nobody will ask any more: the next daemon burns what it does not find claimed.
        """
        if self._order.daemon is None:
            return
        descriptor = open_pidfd(*self._order.daemon)
        if descriptor is not None:
            with Pidfd(descriptor) as daemon:
                await daemon.wait_exit()
        self._is_abandoned = self._order.is_embedded
        if self._is_abandoned or not self._start_asked.done():
            self._ask_to_stop(StopOrder(Outcome.INTERRUPTED, "daemon_lost"))

    # --- what it does ----------------------------------------------------------------------------

    async def _carry_out(self) -> int:
        request = await self._wait_start_asked()
        if request is None:
            return NOT_MINE
        crash_point("governor.start_asked")
        lock = self._folder.claim(self._claim_record())
        if lock is None:
            log.warning("attempt_lost")
            return NOT_MINE
        crash_point("governor.claimed")
        with Reaper() as reaper:
            verdict = await self._govern(request, reaper)
        crash_point("governor.workload_ended")
        record = self._exit_record(verdict)
        if not await insist("exit record", partial(self._write_exit, record)):
            return LOST
        crash_point("governor.exit_written")
        log.info("attempt_ended", outcome=verdict.outcome, reason=verdict.reason)
        await self._report_end(record)
        crash_point("governor.told")
        return 0

    async def _wait_start_asked(self) -> RunStartRequest | None:
        """The start request; `None` once the attempt is given up for want of one."""
        try:
            async with asyncio.timeout(self._order.start_deadline_s):
                return await self._first_of_start_and_stop()
        except TimeoutError:
            if self._folder.entomb(by="governor: no start request", at=datetime.now(UTC)):
                log.warning("start_deadline_passed")
            return None

    async def _first_of_start_and_stop(self) -> RunStartRequest | None:
        await first_of(self._stop_asked.wait(), settled(self._start_asked))
        if self._stop is None:
            return self._start_asked.result()
        by = f"governor: stopped before the start: {self._stop.reason}"
        self._folder.entomb(by=by, at=datetime.now(UTC))
        return None

    async def _govern(self, request: RunStartRequest, reaper: Reaper) -> Verdict:
        """Start the workload and follow it, and all it started, to the end."""
        spec = request.spec
        workload = make_workload(spec, request.secrets)
        try:
            leader = self._start(workload, request)
        except WorkloadNotStarted as error:
            self._say_started(error=error.reason)
            return Verdict(Outcome.FAILED, error.reason, error.exit_code, None)
        except OSError as error:  # the log files, say, on a full disk
            reason = f"not_started: {error.strerror}: {error.filename or 'spool'}"
            self._say_started(error=reason)
            return Verdict(Outcome.FAILED, reason, None, None)
        crash_point("governor.workload_started")
        self._started_at = datetime.now(UTC)
        reaper.watch(leader)
        self._say_started(pid=leader)
        tree = WorkloadTree(leader, reaper=reaper, cgroup=self._cgroup)
        escalation = Escalation(tree, leader=leader, reaper=reaper, note=self._note)
        escalation.hurry = self._hurry
        is_by_itself = await self._wait_end(reaper.wait_exit(leader), spec.timeout_s)
        self._is_winding_down = True
        if not is_by_itself:
            await self._end(workload, spec, escalation)
        elif not tree.is_empty():
            await escalation.end(grace_s=spec.grace_s)
        status = reaper.statuses[leader]
        return judge(status, None if is_by_itself else self._stop, workload.failure(status))

    async def _end(self, workload: Workload, spec: RunSpec, escalation: Escalation) -> None:
        """Ask the workload, if it is one that can be asked; then the signals."""
        grace_s = None if self._stop is None else self._stop.grace_s
        asking_s, grace_s = spec.graces_s(grace_s)
        if asking_s and await escalation.ask(workload.ask, patience_s=asking_s):
            return
        await escalation.end(grace_s=grace_s)

    def _start(self, workload: Workload, request: RunStartRequest) -> int:
        """Let the stub become the workload; its pid."""
        surroundings = Surroundings(
            stdout=self._folder.log("stdout").absolute(),
            stderr=self._folder.log("stderr").absolute(),
            environment=self._environment(request),
            folder=Path("/"),
            stub=self._stub,
            attempt_folder=self._folder.path.absolute(),
            label=f"{self._order.run_id}.{self._order.attempt}",
        )
        return workload.start(surroundings)

    def _environment(self, request: RunStartRequest) -> dict[bytes, bytes]:
        secrets = request.secrets
        base = decode_environment(secrets.environment) if secrets.environment is not None else {}
        own = {
            **secrets.env,
            "INTENDANT_RUN_ID": str(self._order.run_id),
            "INTENDANT_ATTEMPT": str(self._order.attempt),
            "INTENDANT_RUN_DIR": str(self._folder.path.absolute().parent),
            "INTENDANT_STATE_DIR": self._order.state_dir,
        }
        if self._order.client_endpoint is not None:
            own["INTENDANT_ENDPOINT"] = self._order.client_endpoint
        return {**base, **{os.fsencode(name): os.fsencode(value) for name, value in own.items()}}

    def _say_started(self, *, pid: int | None = None, error: str | None = None) -> None:
        if error is None:
            log.info("workload_started", pid=pid)
        else:
            log.info("workload_not_started", error=error)
        self._start_answer.set_result(
            RunStartResponse(
                run_id=self._order.run_id,
                attempt=self._order.attempt,
                pid=pid,
                started_at=self._started_at,
                error=error,
            )
        )

    async def _wait_end(self, exit_: Coroutine[Any, Any, int], timeout_s: float | None) -> bool:
        """Whether the leader ended by itself, before an order to stop and the time limit."""
        is_ended, is_asked = await first_of(exit_, self._stop_asked.wait(), limit_s=timeout_s)
        if not (is_ended or is_asked) and timeout_s is not None:
            self._note(RunNote.TIME_LIMIT_REACHED)
            self._ask_to_stop(time_limit_order(timeout_s))
        return is_ended

    # --- what it leaves --------------------------------------------------------------------------

    def _claim_record(self) -> ClaimRecord:
        return ClaimRecord(
            pid=os.getpid(),
            start_time=start_time(os.getpid()) or 0,
            boot_id=boot_id(),
            token_sha256=self._token_sha256,
            cgroup=None if self._cgroup is None else str(self._cgroup.path),
        )

    def _exit_record(self, verdict: Verdict) -> ExitRecord:
        return ExitRecord(
            run_id=self._order.run_id,
            attempt=self._order.attempt,
            token_sha256=self._token_sha256,
            outcome=verdict.outcome,
            reason=verdict.reason,
            exit_code=verdict.exit_code,
            signal=verdict.signal,
            started_at=self._started_at,
            finished_at=datetime.now(UTC),
            steps=self._steps,
        )

    async def _write_exit(self, record: ExitRecord) -> bool:
        """Put the record on disk; False where its folder is gone: the end can't be proven then."""
        try:
            self._folder.write_exit(record)
        except FileNotFoundError as error:
            log.error("exit_not_written", error=str(error))
            return False
        return True

    async def _report_end(self, record: ExitRecord) -> None:
        """Tell the executor; the record on disk is what counts if nobody answers.

        The one that launched us is on the line; one that was started since, or is far away, is told
        by the bus. An embedded one that has gone leaves nobody behind at its endpoint.
        """
        if self._is_abandoned:
            log.warning("nobody_to_report_to", error="the daemon of this run has gone")
            return
        word = encode(RunFinishedRequest(token=self._order.token, record=record))
        with _told_of_silence():
            async with asyncio.timeout(FINISHED_WAIT_S):
                if await self._line.ask(word) is None:
                    await self._tell(word)

    async def _report_unkillable(self) -> None:
        """While the tree won't die the run has not ended: say so meanwhile."""
        note = RunNoteRequest(
            token=self._order.token,
            run_id=self._order.run_id,
            attempt=self._order.attempt,
            event=RunNote.UNKILLABLE,
        )
        with _told_of_silence():
            async with asyncio.timeout(FINISHED_WAIT_S):
                await self._tell(encode(note))

    async def _tell(self, word: bytes) -> None:
        """Say something to the executor by the bus. Bound it outside."""
        connection = Connection(self._order.endpoint, keys=self._keys(), connect_s=FINISHED_WAIT_S)
        with closing(connection):
            await connection.request(b"executor", [word])

    def _note(self, event: RunNote) -> None:
        log.info(event.value)
        self._steps.append(StepRecord(event=event, at=datetime.now(UTC)))
        if event is RunNote.UNKILLABLE:
            self._tasks.create_task(self._report_unkillable(), name="unkillable")


def _kind(word: bytes) -> str:
    """Which of our requests something means to be; nothing else of it is repeated."""
    try:
        claimed = json.loads(word)["kind"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return "unknown"
    return claimed if claimed in _KINDS else "unknown"


@contextmanager
def _told_of_silence() -> Iterator[None]:
    """Log that nobody was reached; the governor goes on."""
    try:
        yield
    except (TimeoutError, Unreachable, AccessDenied) as error:
        log.warning("nobody_to_report_to", error=str(error))
