"""Steps as processes: telling them what to do, ending their trees.

    Leader           one process for steps, with the tree below it, seen from the pipeline
    ProcessRunner    a leader for each step
    InlineRunner     one leader for all steps, until one of them ends it

A leader's end is its keeper's word, said when nothing of its tree is left.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import ValidationError

from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import GOOD, StepOutcome
from intendant.workloads.nursery import Nursery, Tree, TreeEnd
from intendant.workloads.pipeline import step_process
from intendant.workloads.pipeline.step_output import StepOutput
from intendant.workloads.pipeline.step_process import LENGTH, frame

_PACKET_BYTES = 256 * 1024
MAX_REPORT_BYTES = 16 * 1024 * 1024

Why = Literal["timed_out", "aborted"]


class Attempt(NamedTuple):
    """One attempt at a step, ready to be carried out."""

    step: str
    order: Mapping[str, Any]
    timeout_s: float | None
    grace_s: float
    is_fresh: bool = False
    queue: str = "default"
    priority: int = 0
    note_run: Callable[[int], None] = lambda _: None
    """To be told which run carries it out, if one does."""


class AttemptEnd(NamedTuple):
    """How an attempt ended."""

    outcome: StepOutcome
    reason: str | None
    report: StepReport | None = None


class Running(Protocol):
    """An attempt that is being carried out."""

    def end(self, why: Why) -> None:
        """End it, with all that it has started; harmless the second time."""
        ...


class Stop:
    """The wish that an attempt ends, which may come before there is anything to end."""

    def __init__(self) -> None:
        self.why: Why | None = None
        self._wished = asyncio.Event()
        self._end: Callable[[], None] | None = None

    def wish(self, why: Why) -> None:
        """The first wish says why."""
        if self.why is None:
            self.why = why
            self._wished.set()
            if self._end is not None:
                self._end()

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Have `end` called when it is wished, or at once if it has been, as long as this lasts."""
        self._end = end
        if self.why is not None:
            end()
        try:
            yield
        finally:
            self._end = None

    async def wait(self) -> None:
        """Return once it is wished."""
        await self._wished.wait()


class Leader:
    """A process for steps, and its tree."""

    def __init__(self, tree: Tree, orders: socket.socket) -> None:
        self._tree = tree
        self._orders = orders
        self._received = bytearray()
        self._over: asyncio.Future[StepReport | None] | None = None
        self._is_last = False
        self.ended = tree.ended
        self.ended.add_done_callback(self._on_ended)
        asyncio.get_running_loop().add_reader(orders.fileno(), self._on_orders)

    async def carry_out(self, order: Mapping[str, Any], *, is_last: bool) -> StepReport | None:
        """Have an order carried out; its report, or None if the leader has ended without one."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[StepReport | None] = loop.create_future()
        self._over = over
        self._is_last = is_last
        if self.ended.done():
            return None
        with suppress(OSError):  # it has ended, as its keeper will say
            await loop.sock_sendall(self._orders, frame(order))
            if is_last:
                self._orders.shutdown(socket.SHUT_WR)
        return await over

    def end(self, grace_s: float) -> None:
        """SIGTERM to its group, SIGKILL to its tree when the grace is over."""
        self._tree.end(grace_s)

    def dismiss(self) -> None:
        """Let it go once it is done."""
        if self._orders.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._orders.fileno())
            self._orders.close()

    def _on_orders(self) -> None:
        """A report for each order that is over; end-of-file: it ends, as its keeper will say."""
        try:
            may_go_on = self._receive()
        except OSError:
            may_go_on = False
        if not may_go_on:
            asyncio.get_running_loop().remove_reader(self._orders.fileno())
        elif not self._is_last and (data := self._frame()) is not None:
            self._on_over(read_report(data))

    def _receive(self) -> bool:
        """Take in what is there; whether more may come. `OSError`: nothing is there."""
        data = self._orders.recv(_PACKET_BYTES)
        self._received += data
        if len(self._received) > MAX_REPORT_BYTES:
            self._received.clear()
            self._tree.end(0)
            return False
        return bool(data)

    def _frame(self) -> bytes | None:
        """The report that has come as a whole."""
        if len(self._received) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
        if len(self._received) < end:
            return None
        data = bytes(self._received[LENGTH.size : end])
        del self._received[:end]
        return data

    def _on_ended(self, _: asyncio.Future[TreeEnd]) -> None:
        with suppress(OSError):
            while self._receive():
                pass
        self.dismiss()
        self._on_over(read_report(self._frame()))

    def _on_over(self, report: StepReport | None) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(report)


class ProcessRunner:
    """A process for each step."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery

    async def run(self, attempt: Attempt, stop: Stop) -> AttemptEnd:
        """Carry the attempt out; ends when its whole tree has."""
        fresh = step_process.__name__ if attempt.is_fresh else None
        leader = Leader(*self._nursery.bear(fresh=fresh))
        report = await _bounded(leader, attempt, stop, is_last=True)
        return judge(attempt, await leader.ended, stop.why, report)

    async def close(self) -> None:
        """Nothing is left to close."""


class InlineRunner:
    """One process for all steps, one after another."""

    def __init__(self, nursery: Nursery) -> None:
        self.on_log: Callable[[], object] = lambda: None
        """Called when a step's log has come into being."""
        self._nursery = nursery
        self._alone = ProcessRunner(nursery)
        self._leader: Leader | None = None
        self._output: StepOutput | None = None

    async def run(self, attempt: Attempt, stop: Stop) -> AttemptEnd:
        """Carry the attempt out in the process that is there, or in a new one."""
        if attempt.is_fresh:
            return await self._alone.run(attempt, stop)
        leader, output = self.make_ready()
        output.begin(attempt.order["folder"])
        report = await _bounded(leader, attempt, stop, is_last=False)
        if stop.why is not None:
            leader.end(attempt.grace_s)  # the wish may have come just as the attempt was over
            leader.dismiss()  # where the step has heeded it there is nothing to wait for
            await leader.ended
        trouble = output.catch_up()
        end = leader.ended.result() if leader.ended.done() else TreeEnd(0, None)
        judged = judge(attempt, end, stop.why, report)
        if trouble is not None and judged.outcome in GOOD:
            return AttemptEnd(StepOutcome.FAILED, trouble, report)
        return judged

    def make_ready(self) -> tuple[Leader, StepOutput]:
        """The process that is there, or a new one, and what it prints."""
        if self._leader is None or self._output is None or self._leader.ended.done():
            if self._output is not None:
                self._output.close()
            self._output = StepOutput(lambda: self.on_log())
            self._leader = Leader(*self._nursery.bear(pipes=self._output.writers))
            self._output.let_go()
        return self._leader, self._output

    async def close(self) -> None:
        """End the process, in which nothing runs any more."""
        if self._leader is not None and not self._leader.ended.done():
            self._leader.dismiss()
            await self._leader.ended
        if self._output is not None:
            self._output.catch_up()
            self._output.close()


async def _bounded(
    leader: Leader, attempt: Attempt, stop: Stop, *, is_last: bool
) -> StepReport | None:
    """Have the attempt carried out, up to its time limit or a wish that it ends; its report."""
    timer = None
    if attempt.timeout_s is not None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(attempt.timeout_s, stop.wish, "timed_out")
    with stop.ending(lambda: leader.end(attempt.grace_s)):
        try:
            return await leader.carry_out({**attempt.order, "is_alone": is_last}, is_last=is_last)
        finally:
            if timer is not None:
                timer.cancel()


def read_report(data: bytes | None) -> StepReport | None:
    """What a step has said; a torn or foreign text counts as nothing."""
    try:
        return None if data is None else StepReport.model_validate_json(data)
    except ValidationError:
        return None


def judge(attempt: Attempt, end: TreeEnd, why: Why | None, report: StepReport | None) -> AttemptEnd:
    """How the attempt ended: why it was ended first, then its report, then the exit status."""
    if report is not None and end.usage is not None:
        report = report.model_copy(update={"usage": end.usage})
    if why == "timed_out":
        limit = f"time_limit: {attempt.timeout_s:g} s"
        return AttemptEnd(StepOutcome.TIMED_OUT, limit, report)
    if why == "aborted":
        return AttemptEnd(StepOutcome.ABORTED, "aborted: the pipeline ends", report)
    if report is not None and (end.status == 0 or report.outcome is StepOutcome.FAILED):
        return AttemptEnd(StepOutcome(report.outcome), report.reason, report)
    return AttemptEnd(StepOutcome.FAILED, _reason_of(end.status), report)


def _reason_of(status: int | None) -> str:
    """Why a step failed that has not said so itself."""
    if status is None:
        return "process_lost: its keeper is gone"
    if status == 0:
        return "no_result"
    return f"signal: {-status}" if status < 0 else f"exit_code: {status}"
