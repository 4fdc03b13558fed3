"""A private daemon that lives as long as the program that needs it.

It is a child in a session of its own, so that a terminal's Ctrl-C reaches only the parent, which
passes it on. Two pipes tie them together: the child says on one that it is ready (end-of-file
means it failed), and sees on the other, the life-line, that the parent is gone: no process but the
parent holds its writing end. Sockets go to a folder with a short path (unix(7) bounds it).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from intendant.client.client import Client, Connection
from intendant.client.endpoint import Address
from intendant.errors import HelperLost, IntendantError, SupervisionError, Unreachable
from intendant.protocol.folders import MAX_SOCKET_PATH_BYTES, client_endpoint

START_S = 30.0
STOP_S = 45.0
"""How long an orderly shutdown may take: escalation (grace 3, reap 3), the commands that are told
of ends (30), and the daemon's own end."""
TERM_S = 5.0
DYING_S = 1.0
"""How much later than its sockets a process that died may be gone."""

_TAIL_BYTES = 4096
_ROOM_BYTES = 40
"""What is kept free behind the temporary folder: `/intendant-XXXXXXXX/run/private.sock`."""


class EmbeddedDaemon:
    """A daemon of one's own. Entering starts it, leaving ends it and its runs.

    Without `state_dir` the state is private: it goes with the daemon unless `keep_state` is set.
    """

    def __init__(self, state_dir: Path | None = None, *, slots: int | None = None) -> None:
        self.keep_state = False
        self._named_state_dir = state_dir
        self._slots = slots
        self._made_home: Path | None = None
        self._log_start = 0
        self._life_line: FileIO | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd: FileIO | None = None
        self._is_ending = False
        self._was_shut_down = False

    def __enter__(self) -> Self:
        self._made_home = Path(tempfile.mkdtemp(prefix="intendant-", dir=_temporary_folder()))
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.shut_down()
        finally:
            self._end()

    @property
    def _home(self) -> Path:
        if self._made_home is None:
            raise SupervisionError("the embedded daemon was not started")
        return self._made_home

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return client_endpoint(self._runtime_dir)

    @property
    def state_dir(self) -> Path:
        """Where its store, its spool and its log are."""
        return self._named_state_dir or self._home / "state"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    def client(self, *, timeout_s: float = 30.0) -> Client:
        """A new client of this daemon."""
        return Client(self.endpoint, timeout_s=timeout_s, connect=self._connect)

    def _connect(self, address: Address) -> Connection:
        """A connection that ends with the daemon, at once: no other one comes in its place."""
        from intendant.broker.sync_client import SyncConnection

        life = None if self._pidfd is None else self._pidfd.fileno()
        return SyncConnection(address.endpoint, life=life)

    def send_signal(self, number: int) -> None:
        """Pass a signal on: the first ends its runs in order, the second kills them at once."""
        self._is_ending = True
        self._running().send_signal(number)

    def wait(self) -> int:
        """Its exit status, once it has ended; below zero: the signal that killed it."""
        return self._running().wait()

    def ended(self, *, within_s: float) -> int | None:
        """Its exit status like `wait`'s, if it has ended or does so in time."""
        process = self._running()
        return process.wait() if _ended_within(process, within_s) else None

    def shut_down(self) -> None:
        """End it and its runs, once: by request, then SIGTERM twice, each with a bound.

        Leaving the block does so too, then with SIGKILL; in between, its state can be looked at.
        """
        process = self._running()
        if self._was_shut_down:
            return
        self._was_shut_down = True
        if process.poll() is None and not self._is_ending:
            with (
                contextlib.suppress(IntendantError, TimeoutError),
                self.client(timeout_s=TERM_S) as client,
            ):
                client.shutdown()
        for number, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGTERM, TERM_S)):
            if _ended_within(process, patience_s):
                return
            process.send_signal(number)
        _ended_within(process, TERM_S)

    def abandon(self) -> None:
        """Leave nothing of it running, as leaving the block does; for who can't leave that."""
        self._end()

    def logged(self, event: str) -> Iterator[dict[str, Any]]:
        """What it has logged under this name, in order."""
        mark = f'"event": "{event}"'.encode()
        with contextlib.suppress(OSError), (self.state_dir / "daemon.log").open("rb") as log:
            log.seek(self._log_start)
            for line in log:
                if mark in line:
                    with contextlib.suppress(ValueError):  # torn: there was no room for all of it
                        yield json.loads(line)

    @property
    def _runtime_dir(self) -> Path:
        return self._home / "run"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise SupervisionError("the embedded daemon was not started")
        return self._process

    def _start(self) -> None:
        self._runtime_dir.mkdir(mode=0o700)
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ready, ready_end = _pipe()
        life_line_end, self._life_line = _pipe()
        with ready, ready_end, life_line_end:
            with (self.state_dir / "daemon.log").open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(  # noqa: S603  our own program
                    self._command(ready_end.fileno(), life_line_end.fileno()),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    pass_fds=(ready_end.fileno(), life_line_end.fileno()),
                )  # fmt: skip
            self._pidfd = FileIO(os.pidfd_open(self._process.pid))
            ready_end.close()  # or there would never be an end-of-file
            self._wait_ready(ready.fileno())

    def _command(self, ready: int, life_line: int) -> list[str]:
        # -P: a file named like a module, in whatever folder we are in, is none of the daemon's.
        command = [sys.executable, "-P", "-m", "intendant", "serve", "--embedded"]
        command += ["--ready-fd", str(ready), "--life-line", str(life_line)]
        command += ["--state-dir", str(self.state_dir), "--runtime-dir", str(self._runtime_dir)]
        return command if self._slots is None else [*command, "--slots", str(self._slots)]

    def _wait_ready(self, ready: int) -> None:
        """Return at the line that says so; raise what it says instead, or else the log's end."""
        deadline = time.monotonic() + START_S
        said = b""
        while not said.endswith(b"\n"):
            remaining = max(deadline - time.monotonic(), 0)
            if not select.select([ready], [], [], remaining)[0]:
                raise SupervisionError(f"the embedded daemon was not ready within {START_S:.0f} s")
            more = os.read(ready, 4096)
            if not more:
                raise SupervisionError(f"the embedded daemon did not start:\n{self._log_tail()}")
            said += more
        told = json.loads(said)
        if "failed" in told:
            raise SupervisionError(f"the embedded daemon did not start: {told['failed']}")

    def _log_tail(self) -> str:
        """The last that this daemon logged."""
        with (self.state_dir / "daemon.log").open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - _TAIL_BYTES))
            lines = log.read().decode(errors="backslashreplace").splitlines()
        return "\n".join(lines[-10:]) or "it said nothing"

    def _end(self) -> None:
        """Leave nothing behind: no process, no descriptor, no folder but a state to keep."""
        if self._life_line is not None:
            self._life_line.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._pidfd is not None:
            self._pidfd.close()
        if self._made_home is not None:
            keep = self.keep_state and self._named_state_dir is None
            shutil.rmtree(self._runtime_dir if keep else self._home, ignore_errors=True)


def ended_early(daemon: EmbeddedDaemon, status: int, *, go_on: str | None) -> SupervisionError:
    """That the daemon has died; `go_on` says how its runs go on, where its state is kept."""
    text = f"the embedded daemon ended before its runs, with status {status}"
    log = daemon.state_dir / "daemon.log"
    return SupervisionError(f"{text}; its log: {log}; to go on: {go_on}" if go_on else text)


@contextlib.contextmanager
def death_explained(daemon: EmbeddedDaemon, *, go_on: str | None) -> Iterator[None]:
    """Whoever asks a daemon that has just died learns that first, and not that nobody answers."""
    try:
        yield
    except (HelperLost, Unreachable) as error:
        status = daemon.ended(within_s=DYING_S)
        if status is None:
            raise
        raise ended_early(daemon, status, go_on=go_on) from error


def _ended_within(process: subprocess.Popen[bytes], patience_s: float) -> bool:
    """Whether the process ended in time, seen through its pidfd: `Popen.wait(timeout)` polls."""
    if process.poll() is not None:
        return True
    with contextlib.suppress(ProcessLookupError):  # another thread has just waited for it
        descriptor = os.pidfd_open(process.pid)
        try:
            if not select.select([descriptor], [], [], patience_s)[0]:
                return False
        finally:
            os.close(descriptor)
    process.wait()
    return True


def _pipe() -> tuple[FileIO, FileIO]:
    """A pipe that no other program inherits, as two files: closing one twice is harmless."""
    reader, writer = os.pipe()
    return FileIO(reader, "rb"), FileIO(writer, "wb")


def _temporary_folder() -> str:
    """The temporary folder, or `/tmp` where its path is too long for a socket inside it."""
    folder = tempfile.gettempdir()
    is_short = len(os.fsencode(folder)) + _ROOM_BYTES <= MAX_SOCKET_PATH_BYTES
    return folder if is_short else "/tmp"  # noqa: S108  mkdtemp makes a folder of our own in it
