"""The portable launcher's helper: a process for each governor, by multiprocessing's forkserver.

    helper ── asks ──▶ forkserver ── fork ──▶ middle ── fork ──▶ governor

It is spoken to as the zygote is: a packet and one end of a report socket for each governor, ready
when it says so, gone at end-of-file. It may wait for the forkserver, which is why it is no part of
the executor. Three things the forkserver does that must not reach a governor: it lives for as long
as any of its children holds its life-line, so a child lets go of that at once; what it was started
with (environment, signals) is frozen, so a governor sets its own; it is ended by a fork that
fails, so the helper ends with it and the executor starts both again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import NoReturn

import setproctitle

from intendant.process.aio import ForkedProcess, let_go_of_resource_tracker, preload_forkserver
from intendant.process.birth import REQUEST_BYTES, failure, load_entry
from intendant.process.double_fork import be_middle
from intendant.process.identity import send_signal
from intendant.process.pidfd import Pidfd
from intendant.process.readiness import wait_readable
from intendant.process.waits import first_of

_AFTER_THE_OTHERS = "intendant.process.preloaded"
_DESCRIPTORS = 1 << 20
"""Beyond any that a forkserver's child can have."""


async def main(control: socket.socket, entry: str, preload: list[str]) -> None:
    """Serve requests until the executor or the forkserver is gone."""
    setproctitle.setproctitle("intendant: launcher")
    os.environ["PYTHONSAFEPATH"] = "1"  # the folder we are in holds no modules of ours
    modules = [each.partition(":")[0] for each in (entry, *preload)]
    preload_forkserver([*modules, _AFTER_THE_OTHERS])
    with Pidfd(os.pidfd_open(await _start_forkserver())) as forkserver:
        control.send(b"ready")
        await first_of(_serve(control, entry), forkserver.wait_exit())
        send_signal(forkserver.descriptor, signal.SIGTERM)  # who has gone is gone before us
        await forkserver.wait_exit()


async def _start_forkserver() -> int:
    """The pid of the forkserver, once it has imported everything and forked for the first time."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = ForkedProcess(_tell_parent, theirs)
            child.start()
        await child.join()
        return int(ours.recv(16))


def _tell_parent(channel: socket.socket) -> None:
    channel.send(str(os.getppid()).encode())


async def _serve(control: socket.socket, entry: str) -> None:
    async with asyncio.TaskGroup() as middles:
        while True:
            await wait_readable(control.fileno())
            data, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 1)
            if not data:
                return
            with socket.socket(fileno=descriptors[0]) as report:
                middle = ForkedProcess(_be_middle, data, report, entry)
                try:
                    middle.start()
                except (OSError, EOFError) as error:
                    report.send(failure(f"forkserver: {str(error) or 'gone'}"))
                else:
                    middles.create_task(middle.join())


def _be_middle(data: bytes, report: socket.socket, entry: str) -> NoReturn:
    let_go_of_resource_tracker()
    os.closerange(3, report.fileno())
    os.closerange(report.fileno() + 1, _DESCRIPTORS)
    be_middle(data, report, load_entry(entry))
