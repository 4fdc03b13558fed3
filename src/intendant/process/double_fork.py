"""How a governor becomes the executor's child where the kernel can't make it that at its birth.

A forker that is the executor's child itself forks a sibling (clone3(2), CLONE_PARENT). Where that
is refused, and for multiprocessing's forkserver,

    forker ── fork ──▶ middle ── fork ──▶ governor

the middle waits until the executor holds the governor's pidfd, and exits; the governor goes to the
executor then, which is a subreaper. Until that has been, it leaves its report socket to the middle.
"""

from __future__ import annotations

import os
import select
import socket
from typing import NoReturn

from intendant.process.birth import Birth, Entry, be_governor, failure
from intendant.process.crashpoints import crash_point


def be_middle(standing: bytes, report: socket.socket, run: Entry) -> NoReturn:
    """Be the process between the forker and the governor."""
    middle_lives, held = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        report.send(failure(f"fork: {error.strerror}"))
        os._exit(70)
    if pid == 0:
        os.close(held)
        be_governor(standing, report, _when_alone(middle_lives, run))
    crash_point("middle.forked")
    # Wait for the executor's answer or for the governor's death, whichever comes first; in both
    # cases the report socket closes with this process.
    poll = select.poll()
    poll.register(report, select.POLLIN)
    poll.register(os.pidfd_open(pid), select.POLLIN)
    poll.poll()
    os._exit(0)


def _when_alone(middle_lives: int, run: Entry) -> Entry:
    """The entry, once the middle process has gone, by whom the pipe is held open."""

    def run_alone(birth: Birth) -> int:
        os.read(middle_lives, 1)
        os.close(middle_lives)
        return run(birth)

    return run_alone
