"""Births that do not come to their end."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from intendant.launch.base import LaunchRequest
from intendant.launch.helper import Helper, HelperLauncher
from intendant.process.children import Children

SILENT_AT_FIRST = """
import os, socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
control.send(b"ready")
held = socket.recv_fds(control, 4096, 1)
_, [descriptor], _, _ = socket.recv_fds(control, 4096, 1)
report = socket.socket(fileno=descriptor)
report.send(b'{"pid": %d}' % os.getpid())
while report.recv(4096) == b"seen":
    pass
report.send(b'{"settled": true}')
control.recv(1)
"""


class SilentAtFirst(HelperLauncher):
    """Of the first governor that it is asked for nothing is ever heard; the second is itself."""

    name = "silent at first"

    def __init__(self, children: Children) -> None:
        super().__init__(entry="", preload=[], children=children)
        self.was_asked = asyncio.Event()

    async def _send(self, packet: bytes, report: socket.socket) -> None:
        await super()._send(packet, report)
        self.was_asked.set()

    def _start_helper(self, control: socket.socket) -> Helper:
        command = [sys.executable, "-c", SILENT_AT_FIRST, str(control.fileno())]
        child = subprocess.Popen(command, pass_fds=[control.fileno()])
        return Helper(child.pid, child.wait)


async def test_a_birth_ahead_that_never_ends_keeps_no_run_from_its_launch(tmp_path: Path) -> None:
    with Children() as children:
        launcher = SilentAtFirst(children)
        running = asyncio.create_task(launcher.run())
        launcher.make_ready({})
        await launcher.was_asked.wait()
        async with asyncio.timeout(60):
            launched = await launcher.launch(LaunchRequest(tmp_path, {}))
        with launched.pidfd:
            assert launched.pid == launcher.helper_pid
            launched.line.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
