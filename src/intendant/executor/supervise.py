"""One attempt of a run as the executor sees it, from the intent to the recorded end.

    folder ─▶ starting ─▶ launch ─▶ start request ─▶ started ─▶ … ─▶ exit record ─▶ ended

Whether a workload was started is the claim's word, how it ended the exit record's; the bus only
brings the news sooner. The governor's pidfd says when there is nobody left to bring any.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from intendant.errors import (
    Busy,
    IllegalTransition,
    IntendantError,
    LaunchFailed,
    NotGranted,
    RunNotFound,
    StaleAttempt,
    refusal,
)
from intendant.executor.ending import Claim, Ending, end_of
from intendant.executor.parts import Parts, utc_now
from intendant.executor.stop import Stop, stop_of
from intendant.launch.base import Launched, LaunchRequest
from intendant.process import crashpoints, diskpoints
from intendant.process.cgroup import Cgroup
from intendant.process.crashpoints import crash_point
from intendant.process.descendants import descendants, signal_each
from intendant.process.identity import send_signal, start_time
from intendant.process.line import Line, Reply
from intendant.process.pidfd import Pidfd
from intendant.process.waits import first_of
from intendant.protocol.bulk import uncollected
from intendant.protocol.environment import encode_environment
from intendant.protocol.messages import (
    RESPONSE,
    ErrorResponse,
    Message,
    RunFinishedRequest,
    RunFinishedResponse,
    RunShutdownRequest,
    RunStartRequest,
    RunStartResponse,
    encode,
    encode_start,
)
from intendant.protocol.order import Standing, governor_service
from intendant.protocol.records import ClaimRecord, ExitRecord, TombstoneRecord
from intendant.protocol.run_states import Outcome, RunNote
from intendant.protocol.specs import RunSpec, Secrets
from intendant.store.base import Grant, LiveAttempt
from intendant.store.rows import known_text
from intendant.store.spool import DamagedClaim

log = structlog.get_logger()

T = TypeVar("T")

GOVERNOR_LEAVES_S = 15.0
"""How long a governor may take to go once its end is recorded: longer than it waits for us."""
FINISHED_WAIT_S = 10.0
"""How long a governor is kept waiting for its end to be recorded; it does not wait any longer."""
STOPPED_LAUNCH_S = 2.0
KILL_S = 3.0
OVERDUE_S = 1.0
HURRY_S = 0.3
_OVERTAKEN_S = 2.0
COME_TO_BUS = b""
"""Said by the line to a governor that is to be asked something too long for it."""
_ASK_AGAIN_S = 0.1
_ASK_AGAIN_MAX_S = 2.0
_ENVIRONMENT = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR",
    crashpoints.VARIABLE, diskpoints.VARIABLE,
)  # fmt: skip
"""What a governor itself needs; its workload's environment comes with the start request."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A governor that lives, with a line to it if this daemon launched it."""

    pid: int
    pidfd: Pidfd
    line: Line | None

    @property
    def is_child(self) -> bool:
        return self.line is not None

    def close(self) -> None:
        self.pidfd.close()
        if self.line is not None:
            self.line.close()


class Supervision:
    """One attempt. It holds a slot for as long as `launch` or `adopt` runs.

    One that only waits for other runs holds none.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        run_id: int,
        attempt: int,
        queue: str,
        token_sha256: str,
        holds_slot: bool = True,
    ) -> None:
        self._parts = parts
        self.run_id = run_id
        self.attempt = attempt
        self.queue = queue
        self._log = log.bind(run_id=run_id, attempt=attempt)
        self._folder = parts.spool.attempt(run_id, attempt)
        self.service = governor_service(run_id, attempt)
        self._token_sha256 = token_sha256
        self._ending = Ending(parts, run_id=run_id, attempt=attempt, token_sha256=token_sha256)
        self._spec: RunSpec | None = None
        self.holds_slot = holds_slot
        self._stop: Stop | None = None
        self._stop_changed = asyncio.Event()
        self._launching: asyncio.Timeout | None = None
        self._is_started = False
        self.is_present = True
        """Whether the governor is heard of on the bus; a silent one may still do its work."""
        self._is_known_to_bus = False
        self._presence_changed = asyncio.Event()
        self._silence: asyncio.TimerHandle | None = None
        self._finished: asyncio.Future[ExitRecord] = asyncio.Future()
        self._answer_end: Reply = _to_nobody

    # --- what others ask of it -------------------------------------------------------------------

    def stop(self, stop: Stop) -> None:
        """Have the attempt ended; a cancel outranks the system's wish, `now` a grace."""
        stop = stop.after(self._stop)
        if stop != self._stop:
            self._stop = stop
            self._stop_changed.set()
            self._hurry_launch()

    @property
    def is_granted(self) -> bool:
        """Whether its intent is on disk, as far as is known here."""
        return self._spec is not None

    def notice(self, *, is_present: bool) -> None:
        """The broker hears of the governor (again), or no longer."""
        self._is_known_to_bus |= is_present
        self._take_for(is_present=is_present)

    def _take_for(self, *, is_present: bool) -> None:
        self.is_present = is_present
        self._presence_changed.set()
        if is_present and self._silence is not None:
            self._silence.cancel()

    def expect_word(self) -> None:
        """The broker has not met the governor: who does not register soon has fallen silent."""
        settings = self._parts.settings
        loop = asyncio.get_running_loop()
        if self._silence is not None:  # of a broker that it has outlived
            self._silence.cancel()
        self._silence = loop.call_later(
            settings.heartbeat_s * settings.liveness, partial(self._take_for, is_present=False)
        )

    async def take_note(self, token: str, event: RunNote) -> None:
        """The governor's word of something that changes no state."""
        self._check(token)
        await self._ending.note(event)

    async def finish(self, token: str, record: ExitRecord) -> None:
        """The governor's own word of the end; returns after it is on disk."""
        self._take_end(token, record)
        try:
            async with asyncio.timeout(FINISHED_WAIT_S):
                await self._ending.wait_recorded()
        except TimeoutError:  # the worker is wanted by others; the exit record is on disk
            raise Busy("the end is not recorded yet") from None

    def _take_end(self, token: str, record: ExitRecord) -> None:
        if (record.run_id, record.attempt) != (self.run_id, self.attempt):
            raise StaleAttempt(f"that is not the end of attempt {self.run_id}.{self.attempt}")
        self._check(token)
        crash_point("executor.end_told")
        if not self._finished.done():
            self._finished.set_result(record)

    def _on_last_word(self, line: Line, word: bytes, reply: Reply) -> None:
        """The same by the line; what is no end is told to go by the bus."""
        try:
            told = RunFinishedRequest.model_validate_json(word)
            self._take_end(told.token, told.record)
        except (StaleAttempt, ValueError) as error:
            why = str(error) if isinstance(error, StaleAttempt) else "not the report of an end"
            self._log.warning("report_invalid", error=why)  # without the token that is in it
            line.close()
        else:
            self._answer_end = reply

    def _check(self, token: str) -> None:
        if hashlib.sha256(token.encode()).hexdigest() != self._token_sha256:
            raise StaleAttempt(f"that is not the token of attempt {self.run_id}.{self.attempt}")

    # --- its two ways into life ------------------------------------------------------------------

    async def launch(self, token: str) -> bool:
        """A new attempt: intent, governor, start, end. False: the run is not to start now."""
        grant = await self._intend()
        if grant is None:
            return False
        crash_point("executor.granted")
        self._learn(grant.run.spec)
        self.expect()
        try:
            watched = await self._launch_governor(token)
            if watched is not None:
                await self._follow(watched, grant)
        finally:
            self._parts.broker.forbid(self.service)
        return True

    async def _intend(self) -> Grant | None:
        """Put the intent on disk; `None`: the run is not to start now. `NotGranted`: try later."""
        try:
            await asyncio.to_thread(self._parts.spool.make_attempt, self.run_id, self.attempt)
            crash_point("executor.folder_made")
            if self._stop is not None:
                return None  # the daemon is ending: the run stays queued
            # A commit that failed may be on disk all the same: only an answer settles it.
            act = partial(
                self._parts.store.grant, self.run_id, self.attempt, token_sha256=self._token_sha256
            )
            return await self._insist("start", act, can_be_left=True)
        except (IllegalTransition, StaleAttempt, RunNotFound) as error:
            self._log.info("grant_superseded", error=str(error))
            return None
        except OSError as error:
            raise NotGranted(f"run {self.run_id} stays queued: {error}") from error

    async def adopt(self, live: LiveAttempt, claim: ClaimRecord, pidfd: Pidfd) -> None:
        """An attempt whose governor outlived an earlier daemon. `pidfd` is ours to close."""
        self._take_up(live)
        self._is_started = live.run.started_at is not None
        watched = Watched(claim.pid, pidfd, line=None)
        store = self._parts.store
        try:
            grant = None
            if not self._is_started:
                grant = await self._insist("adoption", partial(store.grant_info, self.run_id))
            self.expect_word()
            await self._follow(watched, grant)
        finally:
            self._parts.broker.forbid(self.service)

    async def bury(self, live: LiveAttempt, claim: Claim) -> None:
        """An attempt whose governor died while no daemon watched."""
        self._take_up(live)
        found = await self._ending.find(by="recovery: gone")  # its record may have come since
        if isinstance(found, ExitRecord):
            await self._ending.conclude(found, self._stop)
        else:
            await self._ending.lose(claim, self._stop, end_orphans=None)

    async def _insist(
        self, what: str, act: Callable[[], Awaitable[T]], *, can_be_left: bool = False
    ) -> T:
        troubles = self._parts.troubles
        return await troubles.insist(what, act, run_id=self.run_id, can_be_left=can_be_left)

    def _take_up(self, live: LiveAttempt) -> None:
        self._learn(live.run.spec)
        if (stop := stop_of(live)) is not None:
            self.stop(stop)

    def _learn(self, spec: RunSpec) -> None:
        self._spec = spec
        if self.holds_slot and not spec.holds_slot:  # it was queued by an earlier version
            self.holds_slot = False
            self._parts.slot_freed()

    def expect(self) -> None:
        """Let the governor register; one that lives already: before the broker listens."""
        self._parts.broker.allow(self.service, self._token_sha256)

    # --- the governor's life ---------------------------------------------------------------------

    async def _launch_governor(self, token: str) -> Watched | None:
        try:
            launched = await self._launch_in_time(token)
        except (LaunchFailed, TimeoutError, OSError) as error:
            reason = f"launch: {str(error) or 'no governor came to life in time'}"
            self._log.warning("launch_failed", reason=reason)
            await self._ending.give_up(by=reason, can_be_left=True)
            await self._ending.burn(reason, self._stop)
            await self._ending.clear_cgroup()
            return None
        crash_point("executor.launched")
        launched.line.hear(partial(self._on_last_word, launched.line), lambda: None)
        return Watched(launched.pid, launched.pidfd, launched.line)

    async def _launch_in_time(self, token: str) -> Launched:
        try:
            async with asyncio.timeout(self._parts.settings.start_deadline_s) as self._launching:
                self._hurry_launch()
                return await self._parts.launcher.launch(self._launch_request(token))
        finally:
            self._launching = None

    def _hurry_launch(self) -> None:
        """Nobody waits long for the birth of a governor that is to end: the launcher may hang."""
        if self._stop is None or self._launching is None or self._launching.expired():
            return
        at = asyncio.get_running_loop().time() + STOPPED_LAUNCH_S
        self._launching.reschedule(min(at, self._launching.when() or at))

    def _launch_request(self, token: str) -> LaunchRequest:
        order = {"run_id": self.run_id, "attempt": self.attempt, "token": token}
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        return LaunchRequest(self._folder.path, order, environment, self._standing())

    def _standing(self) -> dict[str, Any]:
        """What every governor of this daemon is told."""
        settings, home = self._parts.settings, self._parts.cgroup_home
        standing = Standing(
            endpoint=self._parts.private_endpoint,
            client_endpoint=self._parts.client_endpoint,
            state_dir=str(self._parts.state_dir),
            start_deadline_s=settings.start_deadline_s,
            heartbeat_s=settings.heartbeat_s,
            liveness=settings.liveness,
            log_level=settings.log_level,
            umask=self._parts.umask,
            cgroup_home=None if home is None else str(home.path),
            daemon=_this_process(),
            is_embedded=self._parts.is_embedded,
        )
        return standing.model_dump(mode="json")

    async def _follow(self, watched: Watched, grant: Grant | None) -> None:
        """Be with the governor until it is gone and its attempt's end is recorded."""
        with closing(watched):
            try:
                async with asyncio.TaskGroup() as tasks:
                    aides = [
                        tasks.create_task(self._pass_on_stops(watched)),
                        tasks.create_task(self._note_presence()),
                    ]
                    if not watched.is_child:
                        aides.insert(0, tasks.create_task(self._note_adoption(watched)))
                    start = None
                    if grant is not None:
                        start = tasks.create_task(self._start(watched, grant))
                        aides.append(start)
                    await self._wait_finished_or_gone(watched)
                    if start is not None:
                        await self._let_start_be_first(start)
                    for aide in aides:
                        aide.cancel()
                if self._finished.done():
                    await self._ending.record(end_of(self._finished.result()))
                    self._answer_end(encode(RunFinishedResponse()))
                    await self._see_off(watched)
                    await self._ending.clear_cgroup()
                else:
                    await self._record_what_is_found(watched)
            finally:
                if self._silence is not None:
                    self._silence.cancel()
                if watched.is_child:
                    is_reaped = watched.pidfd.reap() is not None
                    self._parts.children.forget(watched.pid, is_reaped=is_reaped)

    async def _wait_finished_or_gone(self, watched: Watched) -> None:
        gone = watched.pidfd.exited()
        either: list[asyncio.Future[Any]] = [gone, self._finished]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()

    async def _let_start_be_first(self, start: asyncio.Task[None]) -> None:
        """A quick end may overtake the start: that is committed first, and may come by the bus."""
        if self._finished.done() and self._finished.result().started_at is not None:
            await asyncio.wait([start], timeout=_OVERTAKEN_S)

    async def _note_adoption(self, watched: Watched) -> None:
        """Keep in the log that this daemon has not launched the governor; first of all, if it can.

        A disk that won't have it must not keep anybody from ending the run.
        """
        note = partial(self._ending.note, RunNote.ADOPTED, pid=watched.pid)
        await self._insist("adoption", note)

    async def _note_presence(self) -> None:
        """Keep in the log when the governor fell silent, and when it was heard again."""
        was_present = True
        while True:
            await self._presence_changed.wait()
            self._presence_changed.clear()
            if self.is_present is not was_present:
                was_present = self.is_present
                event = RunNote.RECONNECTED if was_present else RunNote.DISCONNECTED
                await self._insist("presence", partial(self._ending.note, event))

    async def _see_off(self, watched: Watched) -> None:
        """Wait until the governor is gone; one that lingers has nothing left to lose."""
        try:
            async with asyncio.timeout(GOVERNOR_LEAVES_S):
                await watched.pidfd.wait_exit()
        except TimeoutError:
            self._log.warning("governor_lingers")
            send_signal(watched.pidfd.descriptor, signal.SIGKILL)
            await watched.pidfd.wait_exit()

    # --- starting --------------------------------------------------------------------------------

    async def _start(self, watched: Watched, grant: Grant) -> None:
        """Have the workload started, or the attempt given up; the claim decides which."""
        if self._stop is not None and await self._give_up_unstarted(watched, self._stop):
            return
        request = RunStartRequest(
            run_id=self.run_id,
            attempt=self.attempt,
            spec=grant.run.spec,
            secrets=_complete(grant.secrets),
        )
        try:
            async with asyncio.timeout(self._parts.settings.start_deadline_s):
                answer = await self._ask(watched, request)
        except TimeoutError:
            if await self._ending.give_up(by="executor: start deadline"):
                send_signal(watched.pidfd.descriptor, signal.SIGKILL)
                return
            self._take_for(is_present=False)
            answer = await self._ask(watched, request)  # it was claimed: go on waiting
            self._take_for(is_present=True)
        if not isinstance(answer, RunStartResponse):
            reason = f"protocol_error: {answer.kind} is no answer to a start request"
            self.stop(Stop(Outcome.INTERRUPTED, reason, now=True))
            return
        crash_point("executor.start_answered")
        if answer.error is None and answer.pid is not None:
            at, pid = answer.started_at or utc_now(), answer.pid
            started = self._parts.store.started
            await self._insist("start", partial(started, self.run_id, self.attempt, at=at, pid=pid))
        crash_point("executor.started")
        self._is_started = True
        if not self._is_known_to_bus:
            self.expect_word()
        self._parts.launcher.make_ready(self._standing())

    async def _ask(self, watched: Watched, request: Message) -> Any:
        """The governor's answer: by the line, where there is one and it takes words as long.

        Asked again while the bus can't bring one. Bound it outside.
        """
        word = _encoded(request)
        asked = type(request).__name__
        if watched.line is not None:
            answer = await watched.line.ask(word)
            if answer is not None and (response := self._understood(asked, answer)) is not None:
                return response
            await watched.line.ask(COME_TO_BUS)
        delay_s = _ASK_AGAIN_S
        while True:
            try:
                [answer, *_] = await self._parts.governors.request(self.service.encode(), [word])
            except IntendantError as error:
                self._not_reached(asked, error)
            else:
                if (response := self._understood(asked, answer)) is not None:
                    return response
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _ASK_AGAIN_MAX_S)

    def _understood(self, asked: str, answer: bytes) -> Any:
        """What the governor has answered; `None`, and logged, where that is not what was wanted."""
        try:
            response = RESPONSE.validate_json(answer)
            if isinstance(response, ErrorResponse):
                raise refusal(response.code, response.message)
        except (IntendantError, ValueError) as error:
            self._not_reached(asked, error)
            return None
        return response

    def _not_reached(self, asked: str, error: Exception) -> None:
        self._log.info("governor_not_reached", request=asked, error=str(error))

    # --- stopping --------------------------------------------------------------------------------

    async def _pass_on_stops(self, watched: Watched) -> None:
        """Hand every wish to stop to the governor; do it ourselves when it is overdue.

        A harder wish does not wait for an answer to the one before: there may never be any.
        """
        async with asyncio.TaskGroup() as tasks:
            acting: list[asyncio.Task[None]] = []
            while True:
                await self._stop_changed.wait()
                self._stop_changed.clear()
                stop = self._stop
                if stop is None:
                    continue
                for task in acting:
                    task.cancel()
                acting = [
                    tasks.create_task(self._take_over_when_overdue(watched, stop)),
                    tasks.create_task(self._pass_on(watched, stop)),
                ]

    async def _pass_on(self, watched: Watched, stop: Stop) -> None:
        """Give the attempt up if nobody has claimed it; else tell the governor."""
        if not self._is_started and await self._give_up_unstarted(watched, stop):
            return
        await self._ask(
            watched,
            RunShutdownRequest(
                run_id=self.run_id,
                attempt=self.attempt,
                outcome="cancelled" if stop.outcome is Outcome.CANCELLED else "interrupted",
                reason=stop.reason,
                now=stop.now,
                grace_s=stop.grace_s,
            ),
        )

    async def _give_up_unstarted(self, watched: Watched, stop: Stop) -> bool:
        """Whether the attempt ends without a start; False where the governor has claimed it."""
        is_given_up = await self._ending.give_up(
            by=f"executor: stopped before the start: {stop.reason}"
        )
        if is_given_up:
            send_signal(watched.pidfd.descriptor, signal.SIGKILL)
        return is_given_up

    async def _take_over_when_overdue(self, watched: Watched, stop: Stop) -> None:
        """The second line: end the tree from here, and the governor with it."""
        spec = self._spec
        graces_s = 0.0 if spec is None else sum(spec.graces_s(stop.grace_s))
        if stop.now:
            graces_s = 0.0
        await asyncio.sleep(HURRY_S if stop.is_final else graces_s + KILL_S + OVERDUE_S)
        self._log.warning("governor_overdue", pid=watched.pid)
        below: dict[int, int] = {}
        with suppress(OSError):  # what can't be found now is found once the governor is dead
            claim = await asyncio.to_thread(self._folder.read_claim)
            if isinstance(claim, ClaimRecord) and claim.cgroup is not None:
                Cgroup(Path(claim.cgroup)).kill()
            below = descendants(watched.pid)
        send_signal(watched.pidfd.descriptor, signal.SIGKILL)
        signal_each(below, signal.SIGKILL)

    # --- the end ---------------------------------------------------------------------------------

    async def _record_what_is_found(self, watched: Watched) -> None:
        """The governor is gone without a word; the spool says what was."""
        end_orphans = None
        if watched.is_child:
            end_orphans = partial(self._parts.children.end_orphans, watched.pid)
        found = await self._ending.find(by="governor: gone before the claim")
        if isinstance(found, ClaimRecord | DamagedClaim):
            await self._ending.lose(found, self._stop, end_orphans=end_orphans)
            return
        if isinstance(found, TombstoneRecord) and end_orphans is not None:
            # Its stub came to us, and goes without having become anything.
            with suppress(OSError):
                await first_of(end_orphans(), limit_s=KILL_S)
        await self._ending.conclude(found, self._stop)


def _to_nobody(_: bytes) -> None:
    """The reply to an end that was not told by the line."""


@cache
def _this_process() -> tuple[int, int]:
    """The daemon's pid and start time."""
    return os.getpid(), start_time(os.getpid()) or 0


def _encoded(request: Message) -> bytes:
    """The request as it travels; a large spec has been made a text of once, for the store."""
    if not (isinstance(request, RunStartRequest) and request.spec.kind == "pipeline"):
        return encode(request)
    if (text := known_text(request.spec)) is not None:
        return encode_start(request, text)
    with uncollected():
        return encode(request)


def _complete(found: Secrets) -> Secrets:
    """Secrets with an environment: the daemon's own for a run that brought none."""
    if found.environment is not None:
        return found
    return found.model_copy(update={"environment": encode_environment(os.environb)})
