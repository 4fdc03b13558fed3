"""Workloads that do what is hard to end. `python -S unruly.py KIND MARKER READY-FILE`.

Each is to be recognised by the marker in its arguments, and by nothing else; the ready file
appears when all its processes are there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

HOP = 'sleep 0.02; setsid env -i "PATH=$PATH" sh -c "$0" "$0" "$1" & exit 0'
"""A shell that lives on in a new one: another pid, another session, no environment."""
MANY = 200


def ignores_sigterm() -> None:
    """SIGTERM is nothing to it, nor to its child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        wait_for_ever()


def stops_itself() -> None:
    """Does not run at all any more."""
    if os.fork() == 0:
        time.sleep(0.1)  # the parent stops; this child then says that it has
        wait_stopped(os.getppid())
        say_ready()
        wait_for_ever()
    os.kill(os.getpid(), signal.SIGSTOP)


def double_forks_a_daemon() -> None:
    """Leaves a daemon behind that has a session of its own and is nobody's child."""
    middle = os.fork()
    if middle == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            wait_for_ever()
        os._exit(0)
    os.waitpid(middle, 0)


def starts_many() -> None:
    """Many children, half of them in sessions of their own."""
    for number in range(MANY):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
            wait_for_ever()


def hops() -> None:
    """Children that are never the same process for long."""
    for _ in range(4):
        if os.fork() == 0:
            os.execvp("sh", ["sh", "-c", HOP, HOP, sys.argv[2]])


def leaves_a_daemon_and_ends() -> None:
    """As above, but the leader itself ends well."""
    double_forks_a_daemon()
    say_ready()
    os._exit(0)


def wait_for_ever() -> None:
    """Wait; never go on."""
    while True:
        signal.pause()


def wait_stopped(pid: int) -> None:
    """Return once `pid` is stopped."""
    while b") T " not in Path(f"/proc/{pid}/stat").read_bytes():
        time.sleep(0.01)


def say_ready() -> None:
    """All processes are there."""
    Path(sys.argv[3]).touch()


KINDS: dict[str, Callable[[], None]] = {
    kind.__name__: kind
    for kind in (
        ignores_sigterm,
        stops_itself,
        double_forks_a_daemon,
        starts_many,
        hops,
        leaves_a_daemon_and_ends,
    )
}

if __name__ == "__main__":
    KINDS[sys.argv[1]]()
    say_ready()
    wait_for_ever()
