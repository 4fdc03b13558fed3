"""A daemon as a whole: its recovery with a hundred runs, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import floors
from benchmarks.row import Contest
from intendant import Client
from intendant.protocol.folders import client_endpoint

MANY = 100
EXIT_CODE = 7
COOPERATIVE = ["sh", "-c", f"trap 'exit {EXIT_CODE}' TERM; while :; do sleep 600 & wait; done"]
STUBBORN = ["sh", "-c", "trap '' TERM; while :; do sleep 600; done"]
GRACE_S = 1.0


class Served:
    """`intendant serve` on a state folder that outlives it."""

    def __init__(self, state_dir: Path, runtime_dir: Path) -> None:
        self._folders = ["--state-dir", str(state_dir), "--runtime-dir", str(runtime_dir)]
        self.endpoint = client_endpoint(runtime_dir)
        self._log = runtime_dir / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it serves when this returns."""
        ready, theirs = os.pipe()
        command = [sys.executable, "-m", "intendant", "serve", "--slots", str(MANY)]
        with self._log.open("ab") as log, open(ready, "rb") as said:  # noqa: PTH123 a pipe
            self._process = subprocess.Popen(
                [*command, *self._folders, "--ready-fd", str(theirs)],
                stdout=log, stderr=log, pass_fds=[theirs], start_new_session=True,
            )  # fmt: skip
            os.close(theirs)
            assert said.readline(), self._log.read_text()

    def end(self, number: int) -> float:
        """Send it a signal; the seconds until it is gone."""
        assert self._process is not None
        began = time.perf_counter()
        self._process.send_signal(number)
        self._process.wait()
        return time.perf_counter() - began

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGTERM)

    def client(self) -> Client:
        """A new client of it."""
        return Client(self.endpoint)

    def fill(self, argv: list[str]) -> None:
        """Have a hundred runs of it running."""
        spec = {"workload": {"kind": "command", "argv": argv}, "grace_s": GRACE_S}
        with self.client() as client:
            open_ids = {run.id for run in client.submit_all([spec] * MANY)}
            for run in client.watch(sorted(open_ids), changes=True):
                if run["state"] == "running":
                    open_ids.discard(run["id"])
                if not open_ids:
                    return


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """A daemon that is not running yet; its sockets are in a folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="bench-") as runtime_dir:
        daemon = Served(folder / "state", Path(runtime_dir))
        try:
            yield daemon
        finally:
            daemon.close()


def recovery(
    until: Callable[[Client], None],
) -> Callable[[Path], AbstractContextManager[Contest]]:
    """From the start of a daemon after a kill, with a hundred runs that live; ms.

    The peer is the start of a daemon that has nothing to recover.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        (folder / "idle").mkdir()
        with served(folder) as daemon, served(folder / "idle") as idle:

            def ours() -> float:
                daemon.start()
                daemon.fill(COOPERATIVE)
                daemon.end(signal.SIGKILL)
                took_s = _start_s(daemon, until)
                daemon.end(signal.SIGTERM)
                return 1000 * took_s

            def peer() -> float:
                took_s = _start_s(idle, _nothing_is_there)
                idle.end(signal.SIGTERM)
                return 1000 * took_s

            yield ours, peer

    return contest


def _start_s(daemon: Served, until: Callable[[Client], None]) -> float:
    began = time.perf_counter()
    daemon.start()
    with daemon.client() as client:
        until(client)
    return time.perf_counter() - began


def states_are_right(client: Client) -> None:
    """The list says of all runs that they are running."""
    found = client.runs(states=["running"], limit=2 * MANY)
    assert len(found) == MANY, len(found)


def all_obey(client: Client) -> None:
    """All have ended as they were told to, with their own exit code."""
    ids = [run["id"] for run in client.runs(states=["running"], limit=2 * MANY)]
    client.cancel(ids)
    codes = [run["exit_code"] for run in client.wait(ids)]
    assert codes == [EXIT_CODE] * MANY, codes


@contextmanager
def idle_shutdown(folder: Path) -> Iterator[Contest]:
    """From SIGTERM to the end of a daemon that has nothing to do; ms."""
    with served(folder) as daemon:

        def ours() -> float:
            daemon.start()
            return 1000 * daemon.end(signal.SIGTERM)

        yield ours, lambda: next(floors.terminate_ms(1))


@contextmanager
def stubborn_shutdown(folder: Path) -> Iterator[Contest]:
    """From SIGTERM to a daemon's end with a hundred runs that ignore it, beyond one grace; ms."""
    with served(folder) as daemon:

        def ours() -> float:
            daemon.start()
            daemon.fill(STUBBORN)
            return 1000 * (daemon.end(signal.SIGTERM) - GRACE_S)

        yield ours, partial(floors.kill_all_ms, MANY)


def _nothing_is_there(client: Client) -> None:
    assert client.runs() == []
