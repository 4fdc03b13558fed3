"""Governors forked by a zygote on this machine: 3 to 5 ms from here to READY."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import structlog

from intendant.errors import LaunchFailed
from intendant.launch.base import Launched, LaunchRequest
from intendant.process.children import Children
from intendant.process.identity import send_signal, start_time
from intendant.process.limits import restore_file_limit
from intendant.process.pidfd import Pidfd
from intendant.process.readiness import wait_writable
from intendant.process.zygote import REQUEST_BYTES

log = structlog.get_logger()

_RESTART_FIRST_S = 0.05
_RESTART_MAX_S = 5.0
_STEADY_S = 10.0
"""A zygote that lived this long starts the back-off anew."""
_END_S = 1.0


class LocalLauncher:
    """Owns the zygote: started, started again when it dies, ended with `run()`."""

    name = "zygote"

    def __init__(self, *, entry: str, preload: Sequence[str], children: Children) -> None:
        self._children = children
        self._entry = entry
        self._preload = list(preload)
        self._control: socket.socket | None = None
        self._ready = asyncio.Event()
        self._sending = asyncio.Lock()
        self.helper_pid: int | None = None
        self.restarts = 0

    async def run(self) -> None:
        """Keep a zygote alive until cancelled; then it ends."""
        loop = asyncio.get_running_loop()
        delay_s = _RESTART_FIRST_S
        while True:
            began = loop.time()
            status = await self._live_once()
            self.restarts += 1
            if loop.time() - began > _STEADY_S:
                delay_s = _RESTART_FIRST_S
            log.warning("zygote_lost", status=status, restart_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _RESTART_MAX_S)

    async def launch(self, request: LaunchRequest) -> Launched:
        """Start a governor; `LaunchFailed` says why none lives."""
        packet = json.dumps(
            {
                "folder": str(request.folder),
                "environment": request.environment,
                "order": request.order,
            }
        ).encode()
        if len(packet) > REQUEST_BYTES:
            raise LaunchFailed(f"the launch request has {len(packet)} bytes, over {REQUEST_BYTES}")
        await self._ready.wait()
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with report:
            report.setblocking(False)
            with theirs:
                await self._send(packet, theirs)
            return await self._follow(report)

    async def _live_once(self) -> int | None:
        """One zygote from start to end; its exit code."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with ours, theirs:
            command = [sys.executable, "-P", "-m", "intendant.process.zygote"]
            child = subprocess.Popen(  # noqa: S603, ASYNC220 our own interpreter; it only forks
                [*command, str(theirs.fileno()), self._entry, *self._preload],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            theirs.close()
            restore_file_limit(child.pid)
            self._children.know(child.pid)
            with Pidfd(os.pidfd_open(child.pid)) as pidfd:
                try:
                    return await self._serve(child, ours, pidfd)
                finally:
                    self._ready.clear()
                    self._control, self.helper_pid = None, None
                    ours.close()
                    await _see_off(child, pidfd)
                    self._children.forget(child.pid, is_reaped=True)

    async def _serve(
        self, child: subprocess.Popen[bytes], control: socket.socket, pidfd: Pidfd
    ) -> int | None:
        loop = asyncio.get_running_loop()
        self.helper_pid = child.pid
        if await loop.sock_recv(control, 16):  # else it died while it imported
            self._control = control
            self._ready.set()
            log.info("zygote_ready", pid=child.pid)
        await pidfd.wait_exit()
        return child.wait()

    async def _send(self, packet: bytes, report: socket.socket) -> None:
        """Hand the request over; wait while the zygote's queue is full."""
        async with self._sending:
            while self._control is not None:
                try:
                    socket.send_fds(self._control, [packet], [report.fileno()])
                except BlockingIOError:
                    await wait_writable(self._control.fileno())
                except OSError as error:
                    raise LaunchFailed(f"the zygote is gone: {error.strerror}") from error
                else:
                    return
        raise LaunchFailed("the zygote is gone")

    async def _follow(self, report: socket.socket) -> Launched:
        """Wait for the governor's pid, pin it down, and let the middle process go."""
        loop = asyncio.get_running_loop()
        answer = await loop.sock_recv(report, 4096)
        if not answer:
            raise LaunchFailed("the governor died before it could say its pid")
        found = json.loads(answer)
        if "error" in found:
            raise LaunchFailed(found["error"])
        pid = int(found["pid"])
        # Until the answer below the middle process holds the pid, even if its bearer has died.
        pidfd = Pidfd(os.pidfd_open(pid))
        self._children.know(pid)  # before it is our child, or it would be taken for an orphan
        started = start_time(pid)
        try:
            await loop.sock_sendall(report, b"seen")
        except BrokenPipeError:
            pass  # the governor has died, and the middle with it: the pidfd says so too
        except BaseException:
            pidfd.close()
            raise
        return Launched(pid, started or 0, pidfd)


async def _see_off(child: subprocess.Popen[bytes], pidfd: Pidfd) -> None:
    """The zygote ends at end-of-file of its control socket; it is killed if it does not."""
    if child.poll() is None:
        try:
            async with asyncio.timeout(_END_S):
                await pidfd.wait_exit()
        except TimeoutError:
            send_signal(pidfd.descriptor, signal.SIGKILL)
            await pidfd.wait_exit()
    child.wait()
