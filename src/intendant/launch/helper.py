"""Launchers that have a helper process: kept alive, and asked over a socket for each governor.

A request is one packet on a SOCK_SEQPACKET socket, with one end of a report socket of its own; how
a governor comes to life from there is told in `process.birth`. At end-of-file of its socket a
helper ends. One governor can be born ahead of its order, and waits: what takes longest before a
workload starts is behind it then.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog

from intendant.errors import LaunchFailed
from intendant.launch.base import Launched, LaunchRequest
from intendant.launch.newborn import Cradle, Newborn, first_word
from intendant.process.birth import REQUEST_BYTES
from intendant.process.children import Children
from intendant.process.identity import send_signal
from intendant.process.pidfd import Pidfd
from intendant.process.readiness import wait_writable
from intendant.process.waits import finished, heed_cancel

log = structlog.get_logger()

_RESTART_FIRST_S = 0.05
_RESTART_MAX_S = 5.0
_STEADY_S = 10.0
"""A helper that lived this long starts the back-off anew."""
_END_S = 1.0
_SPARE_PATIENCE_S = 3.0
"""How long a governor that is ahead of its order may take to be born, or to settle in."""


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper that was started, and what gives its exit code once it has ended."""

    pid: int
    reap: Callable[[], int | None]


class HelperLauncher(ABC):
    """Owns a helper: started, started again when it dies, ended with `run()`."""

    name: ClassVar[str]
    loading_end_s: ClassVar[float] = _END_S
    """How long a helper may take to end that is still loading its modules."""

    def __init__(self, *, entry: str, preload: Sequence[str], children: Children) -> None:
        self._children = children
        self._entry = entry
        self._preload = list(preload)
        self._control: socket.socket | None = None
        self._ready = asyncio.Event()
        self._cradle = Cradle(self._let_go)
        self._next_standing = b""
        self._is_next_wanted = asyncio.Event()
        self.helper_pid: int | None = None
        self.restarts = 0

    @abstractmethod
    def _start_helper(self, control: socket.socket) -> Helper:
        """Start a helper that serves this end of a socket pair, and is known to be a child."""

    async def run(self) -> None:
        """Keep a helper alive, and a governor waiting where one is wanted, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_helper(), name="helper")
            tasks.create_task(self._keep_one_waiting(), name="waiting governor")

    async def launch(self, request: LaunchRequest) -> Launched:
        """Start a governor; `LaunchFailed` says why none lives."""
        standing = _packet(request.standing)
        order = _packet(
            {
                "folder": str(request.folder),
                "environment": request.environment,
                "order": request.order,
            }
        )
        if (waiting := self._take_waiting(standing)) is not None:
            try:
                async with asyncio.timeout(_SPARE_PATIENCE_S):
                    return await self._told(waiting, order)
            except (LaunchFailed, TimeoutError) as error:  # or else the next one says the same
                log.info("waiting_governor_lost", pid=waiting.pid, error=str(error) or "stopped")
        return await self._told(await self._bear(standing), order)

    def make_ready(self, standing: dict[str, Any]) -> None:
        """Have a governor come to life for whoever launches the next one, if none waits."""
        self._next_standing = _packet(standing)
        self._is_next_wanted.set()

    # --- governors -------------------------------------------------------------------------------

    async def _bear(self, standing: bytes) -> Newborn:
        """A governor without an order; they are born one at a time."""
        await self._ready.wait()
        async with self._children.birth():
            report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                report.setblocking(False)
                with theirs:
                    await self._send(standing, theirs)
                return await first_word(report, standing, self._children.know)
            except BaseException:
                report.close()
                raise

    async def _told(self, governor: Newborn, order: bytes) -> Launched:
        """The governor with its order."""
        try:
            return await governor.obey(order)
        except LaunchFailed:  # it has said so, or is gone
            self._let_go(governor)
            raise
        except BaseException:
            send_signal(governor.pidfd.descriptor, signal.SIGKILL)
            self._let_go(governor)
            raise

    def _let_go(self, governor: Newborn) -> None:
        """It ends, having nothing to lose; if it has not yet, it is reaped when it has."""
        is_reaped = governor.pidfd.reap() is not None
        governor.close()
        self._children.forget(governor.pid, is_reaped=is_reaped)

    async def _bear_ahead(self) -> None:
        try:
            async with asyncio.timeout(_SPARE_PATIENCE_S):
                self._cradle.put(await self._bear(self._next_standing))
        except (LaunchFailed, OSError) as error:  # whoever launches the next one is told
            heed_cancel(error)
            log.info("no_governor_made_ready", error=str(error))

    def _take_waiting(self, standing: bytes) -> Newborn | None:
        """The governor that waits with this standing; one with another is let go of."""
        waiting = self._cradle.take()
        if waiting is not None and waiting.standing != standing:
            self._let_go(waiting)
            return None
        return waiting

    async def _keep_one_waiting(self) -> None:
        """Bear a governor ahead of its order whenever one is wanted and none waits."""
        try:
            while True:
                await self._is_next_wanted.wait()
                self._is_next_wanted.clear()
                waiting = self._take_waiting(self._next_standing)
                if waiting is not None:
                    self._cradle.put(waiting)
                else:
                    await self._ready.wait()
                    await finished(self._bear_ahead(), patience_s=_END_S)
        finally:
            if (waiting := self._cradle.take()) is not None:
                waiting.hang_up()
                await _see_off(waiting.pidfd, _END_S)
                self._let_go(waiting)

    # --- the helper ------------------------------------------------------------------------------

    async def _keep_helper(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = _RESTART_FIRST_S
        while True:
            began = loop.time()
            status = await self._live_once()
            self.restarts += 1
            if loop.time() - began > _STEADY_S:
                delay_s = _RESTART_FIRST_S
            log.warning("launcher_lost", launcher=self.name, status=status, restart_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _RESTART_MAX_S)

    async def _live_once(self) -> int | None:
        """One helper from start to end; its exit code. `None` too where it could not be started."""
        try:
            return await self._live()
        except OSError as error:
            heed_cancel(error)
            log.error("launcher_not_started", launcher=self.name, error=str(error))
            return None

    async def _live(self) -> int | None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with ours, theirs:
            helper = self._start_helper(theirs)
            theirs.close()
            self._children.know(helper.pid)
            with Pidfd(os.pidfd_open(helper.pid)) as pidfd:
                try:
                    await self._serve(helper, ours, pidfd)
                finally:
                    patience_s = _END_S if self._ready.is_set() else self.loading_end_s
                    self._ready.clear()
                    self._control, self.helper_pid = None, None
                    ours.close()
                    await _see_off(pidfd, patience_s)
                    status = helper.reap()
                    self._children.forget(helper.pid, is_reaped=True)
            return status

    async def _serve(self, helper: Helper, control: socket.socket, pidfd: Pidfd) -> None:
        """Send it what is to be launched, from when it is ready until it ends."""
        loop = asyncio.get_running_loop()
        self.helper_pid = helper.pid
        if await loop.sock_recv(control, 16):  # else it died while it imported
            self._control = control
            self._ready.set()
            log.info("launcher_ready", launcher=self.name, pid=helper.pid)
        await pidfd.wait_exit()

    async def _send(self, packet: bytes, report: socket.socket) -> None:
        """Hand the request over; wait while the helper's queue is full."""
        while self._control is not None:
            try:
                socket.send_fds(self._control, [packet], [report.fileno()])
            except BlockingIOError:
                await wait_writable(self._control.fileno())
            except OSError as error:
                raise LaunchFailed(f"the launcher is gone: {error.strerror}") from error
            else:
                return
        raise LaunchFailed("the launcher is gone")


async def _see_off(pidfd: Pidfd, patience_s: float) -> None:
    """Helpers and governors that wait end at end-of-file of their socket, or are killed then."""
    try:
        async with asyncio.timeout(patience_s):
            await pidfd.wait_exit()
    except TimeoutError:
        send_signal(pidfd.descriptor, signal.SIGKILL)
        await pidfd.wait_exit()


def _packet(content: dict[str, Any]) -> bytes:
    packet = json.dumps(content).encode()
    if len(packet) > REQUEST_BYTES:
        raise LaunchFailed(f"the launch request has {len(packet)} bytes, over {REQUEST_BYTES}")
    return packet
