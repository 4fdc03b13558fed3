"""How a governor is born in a process that forks for a living, be it zygote or forkserver.

The governor makes its session, forks what it has to fork, settles in, reports its pid on the report
socket (`report`), and goes its way. Where something fails the report says so, or ends: a report
socket that closes without a pid means that nobody lives. Every fork happens in a process with a
single thread, without an event loop or a zmq Context.

The governor is to be the executor's child. A forker that is one itself forks a sibling, where the
kernel lets it (clone3(2), CLONE_PARENT). Otherwise

    forker ── fork ──▶ middle ── fork ──▶ governor

the middle waits until the executor has answered the report (it holds a pidfd by then), and exits;
the governor goes to the executor then, which is a subreaper.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from intendant.process.crashpoints import crash_point, forget_crash_points
from intendant.process.diskpoints import forget_disk_trouble

REQUEST_BYTES = 128 * 1024
"""The longest request; the kernel's own bound for one packet is a little above."""

SettleIn = Callable[[], None]
"""Take up folder and environment, and report. Each page that was written to before a fork is copied
once more when it is written to again, so a fork comes first.
"""
Entry = Callable[[dict[str, Any], socket.socket, SettleIn], int]
"""What a governor does with its order and its report socket; the exit status."""


def load_entry(entry: str) -> Entry:
    """The function that `module:function` names."""
    module, _, function = entry.partition(":")
    found: Entry = getattr(importlib.import_module(module), function)
    return found


def failure(text: str) -> bytes:
    """A report that no governor came to life."""
    return json.dumps({"error": text}).encode()


def be_middle(request: bytes, report: socket.socket, run: Entry) -> NoReturn:
    """Be the process between the forker and the governor."""
    try:
        pid = os.fork()
    except OSError as error:
        report.send(failure(f"fork: {error.strerror}"))
        os._exit(70)
    if pid == 0:
        be_governor(json.loads(request), report, run)
    crash_point("middle.forked")
    # Wait for the executor's answer or for the governor's death, whichever comes first; in both
    # cases the report socket closes with this process.
    poll = select.poll()
    poll.register(report, select.POLLIN)
    poll.register(os.pidfd_open(pid), select.POLLIN)
    poll.poll()
    os._exit(0)


def be_governor(request: dict[str, Any], report: socket.socket, run: Entry) -> NoReturn:
    """Be the governor, from its birth to its end."""
    status = 70
    settled = False

    def settle_in() -> None:
        nonlocal settled
        _settle_in(request, report)
        settled = True

    try:
        os.setsid()
        report.set_inheritable(False)  # it came by SCM_RIGHTS; no workload is to have it
        status = run(request["order"], report, settle_in)
    except BaseException as error:  # noqa: BLE001 the top of a process: said to its log, ended below
        if not settled:  # there is no log yet
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            with suppress(OSError):
                report.send(failure(f"governor: {why}"))
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _settle_in(request: dict[str, Any], report: socket.socket) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
    _enter_folder(Path(request["folder"]))
    _set_environment(request["environment"])
    forget_crash_points()
    forget_disk_trouble()
    crash_point("governor.session_made")
    report.send(b'{"pid": %d}' % os.getpid())


def _set_environment(environment: dict[str, str]) -> None:
    """Take another environment. `clear` and `update` have each governor copy 30 pages more."""
    for name in list(os.environ):
        del os.environ[name]
    for name, value in environment.items():
        os.environ[name] = value


def _enter_folder(folder: Path) -> None:
    """Work in `folder`; read nothing; write what is written to the log there."""
    os.chdir(folder)
    silence = os.open(os.devnull, os.O_RDONLY)
    log = os.open("governor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(silence, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(silence)
    os.close(log)
