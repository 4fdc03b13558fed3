"""Which process is meant: a pid alone names a stranger as soon as it is given out again.

A process is recognised by its pid, the time it started (field 22 of proc_pid_stat(5)) and the
boot it belongs to; a pidfd (pidfd_open(2)) pins it down for as long as it is held.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_STATE, _PARENT, _SESSION, _START_TIME = 0, 1, 3, 19
"""Fields of /proc/PID/stat, counted from the state, the third one."""


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat says that matters here."""

    state: str
    parent: int
    session: int
    start_time: int


def process_stat(pid: int) -> ProcessStat | None:
    """What the kernel says of `pid` now; `None` if there is no such process."""
    try:
        stat = _contents(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, field 2, may hold spaces and parentheses: count from its last closing one.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return ProcessStat(
        fields[_STATE].decode(),
        int(fields[_PARENT]),
        int(fields[_SESSION]),
        int(fields[_START_TIME]),
    )


def _contents(path: str) -> bytes:
    """What a file of the kernel's says now."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  asked for with each birth
        return file.read()


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of `pid`; `None` if there is no such process."""
    stat = process_stat(pid)
    return None if stat is None else stat.start_time


def boot_id() -> str:
    """What tells this boot of the machine from every other (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()


def open_pidfd(pid: int, expected_start_time: int | None) -> int | None:
    """A pidfd of the process that started at `expected_start_time`; `None` if it is gone.

    The pidfd comes first and the comparison second: what it pins down can't be replaced between.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if expected_start_time is not None and start_time(pid) != expected_start_time:
        os.close(pidfd)
        return None
    return pidfd


def send_signal(pidfd: int, signum: int) -> bool:
    """Signal exactly this process; False if it is gone already."""
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        return False
    return True


def send_group_signal(pgid: int, signum: int) -> bool:
    """Signal every process of the group; False if none is left."""
    try:
        os.killpg(pgid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def children(pid: int) -> list[int]:
    """The direct children of a process, zombies among them (proc_pid_task_children(5))."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  asked for with each birth
            with suppress(FileNotFoundError, ProcessLookupError):
                told = _contents(f"/proc/{pid}/task/{thread}/children")
                found.extend(map(int, told.split()))
    return found


def session_members(session: int) -> list[int]:
    """Every live process of a session: a scan of /proc, for when nothing better is known."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    found = ((pid, process_stat(pid)) for pid in pids)
    return [pid for pid, stat in found if stat and stat.session == session and stat.state != "Z"]


def exit_code(found: os.waitid_result) -> int:
    """What waitid(2) found, as one number: the exit code, or minus the signal's number."""
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
