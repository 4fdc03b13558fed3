"""Everything below a process, and signals to all of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping

from intendant.process.identity import children, open_pidfd, process_stat, send_signal


def descendants(pid: int, *, spare: Collection[int] = ()) -> dict[int, int]:
    """Every live process below `pid` and when it started; parents before children.

    Those in `spare` are left out, and with them all that is below them: nobody looks there, so
    nobody there can be mistaken for another.
    """
    found: dict[int, int] = {}
    todo = [pid]
    while todo:
        for child in children(todo.pop()):
            if child in spare or child in found:
                continue
            stat = process_stat(child)
            if stat is not None and stat.state != "Z":
                found[child] = stat.start_time
                todo.append(child)
    return found


def signal_each(processes: Mapping[int, int], signum: int) -> None:
    """Signal exactly these processes, each told from a later one by when it started."""
    for pid, started in processes.items():
        pidfd = open_pidfd(pid, started)
        if pidfd is not None:
            send_signal(pidfd, signum)
            os.close(pidfd)


def kill_descendants(pid: int, *, spare: Collection[int] = ()) -> dict[int, int]:
    """One pass of SIGKILL over everything below `pid` but `spare`; who was killed in it.

    All are stopped first, parents before children, so that none forks while the others are being
    killed: a chain that forks and exits is otherwise hard to catch.
    """
    signal_each(descendants(pid, spare=spare), signal.SIGSTOP)
    killed = descendants(pid, spare=spare)
    signal_each(killed, signal.SIGKILL)
    return killed
