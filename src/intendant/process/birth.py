"""How a governor is born in a process that forks for a living, be it zygote or forkserver.

    executor ── standing, report socket ──▶ forker ── fork ──▶ governor
    executor ◀── pid ────── governor     it lives, in a session of its own
    executor ─── seen ────▶ governor     it is pinned down: a middle process may go (`double_fork`)
    executor ─── order ───▶ governor     which attempt it is to govern: at once, or much later
    executor ◀── settled ── governor     it has its folder and its log, or could not have them

Each is one packet on the report socket (SOCK_SEQPACKET), which closes without a pid if nobody
lives. `standing` is what all orders have in common. A governor without an order has nothing to lose
and ends when the socket closes: whoever asked for it is gone, or has no need of it. Every fork
happens in a process with a single thread, no signal handlers and no zmq Context.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from intendant.process.crashpoints import crash_point, forget_crash_points
from intendant.process.diskpoints import forget_disk_trouble
from intendant.process.line import SEEN

REQUEST_BYTES = 128 * 1024
"""The longest packet; the kernel's own bound is a little above."""
SETTLED = b'{"settled": true}'


class Birth:
    """A governor that has no order yet, or has just got it, seen from within."""

    def __init__(self, standing: Mapping[str, Any], report: socket.socket) -> None:
        self.standing = standing
        self.report = report
        self.is_settled = False
        self._request: dict[str, Any] = {}

    def wait_order(self) -> dict[str, Any] | None:
        """The order, as long as it may take; `None`: there will be none."""
        packet = SEEN
        with suppress(ConnectionResetError):  # whoever asked for us went before we were noticed
            while packet == SEEN:
                packet = self.report.recv(REQUEST_BYTES)
        if packet in (SEEN, b""):
            return None
        self._request = json.loads(packet)
        order: dict[str, Any] = self._request["order"]
        return order

    def settle_in(self) -> None:
        """Take up the folder and the environment of the order, and say so.

        Each page that was written to before a fork is copied once more when it is written to again:
        a fork comes first.
        """
        _enter_folder(Path(self._request["folder"]))
        _set_environment(self._request["environment"])
        forget_crash_points()
        forget_disk_trouble()
        crash_point("governor.session_made")
        self.report.send(SETTLED)
        self.is_settled = True


Entry = Callable[[Birth], int]
"""What a governor does; the exit status."""


def load_entry(entry: str) -> Entry:
    """The function that `module:function` names."""
    module, _, function = entry.partition(":")
    found: Entry = getattr(importlib.import_module(module), function)
    return found


def failure(text: str) -> bytes:
    """A report that no governor came to life."""
    return json.dumps({"error": text}).encode()


def be_governor(standing: bytes, report: socket.socket, run: Entry) -> NoReturn:
    """Be the governor, from its birth to its end."""
    status = 70
    birth = Birth(json.loads(standing), report)
    try:
        os.setsid()
        report.set_inheritable(False)  # it came by SCM_RIGHTS; no workload is to have it
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        report.send(b'{"pid": %d}' % os.getpid())
        status = run(birth)
    except BaseException as error:  # noqa: BLE001 the top of a process: said to its log, ended below
        if not birth.is_settled:  # there is no log yet
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            with suppress(OSError):
                report.send(failure(f"governor: {why}"))
        if birth.is_settled or not isinstance(error, BrokenPipeError):  # else nobody wants us
            traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


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
