"""A real daemon for system tests: the installed command in folders of its own.

It owns what it started, keeps the logs where pytest shows them, and `assert_nothing_left` finds
every process that belongs to its folders, by its folder, environment or arguments.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from intendant.broker.sync_client import SyncConnection
from intendant.client import wire
from intendant.client.client import Client
from intendant.errors import IntendantError, Unreachable
from intendant.protocol.folders import client_endpoint
from intendant.protocol.messages import EventBatch
from intendant.protocol.records import EventRecord
from tests.helpers.waiting import PATIENCE_S, wait_for

INTENDANT = str(Path(sys.executable).with_name("intendant"))


class Daemon:
    """One daemon's folders, and the daemon in them while it runs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state_dir = home / "state"
        self.runtime_dir = home / "run"
        self.log = home / "daemon.log"
        self.cwd = home
        """Where it is started, by which its helpers are found."""
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: list[subprocess.Popen[str]] = []

    # --- the daemon ------------------------------------------------------------------------------

    def start(
        self, *flags: str, environment: dict[str, str] | None = None, umask: int = -1
    ) -> None:
        """Start it (again), and wait until it serves."""
        self.launch(*flags, environment=environment, umask=umask)
        wait_for("the daemon serves", self.serves)

    def launch(
        self, *flags: str, environment: dict[str, str] | None = None, umask: int = -1
    ) -> None:
        """Start it without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [INTENDANT, "serve", *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment | (environment or {}),
                cwd=self.cwd,
                start_new_session=True,
                umask=umask,
            )

    def launch_logging_to(self, descriptor: int) -> None:
        """Start it without waiting; its log goes there."""
        self.process = subprocess.Popen(
            [INTENDANT, "serve"],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=self.environment,
            cwd=self.cwd,
            start_new_session=True,
        )

    def serves(self) -> bool:
        """Whether it answers; fails when it has ended."""
        assert self.running.poll() is None, f"the daemon ended:\n{self.log_text()[-3000:]}"
        return self.answers()

    def answers(self) -> bool:
        """Whether somebody answers; asked from here, as a process for each look costs far more."""
        try:
            with self.client() as client:
                client.status()
        except (IntendantError, TimeoutError):
            return False
        return True

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "the daemon was not started"
        return self.process

    @property
    def pid(self) -> int:
        return self.running.pid

    def send(self, number: int) -> None:
        """Send the daemon, and nobody else, a signal."""
        self.running.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the daemon alone; returns when it is gone."""
        self.running.kill()
        self.running.wait()

    def stop(self, number: int = signal.SIGTERM, *, within_s: float = PATIENCE_S) -> int:
        """End it in order; its exit status as a shell would say it."""
        self.send(number)
        return self.wait(within_s=within_s)

    def wait(self, *, within_s: float = PATIENCE_S) -> int:
        """Its exit status, once it has ended by itself."""
        status = self.running.wait(within_s)
        return status if status >= 0 else 128 - status

    # --- the command line ------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        ours = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
        return ours | {
            "INTENDANT_STATE_DIR": str(self.state_dir),
            "INTENDANT_RUNTIME_DIR": str(self.runtime_dir),
        }

    def run(
        self,
        *arguments: str | bytes,
        within_s: float = 100.0,
        cwd: Path | None = None,
        environment: Mapping[bytes, bytes] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """One command line against this daemon, to its end; `environment` is added."""
        ours = {os.fsencode(name): os.fsencode(text) for name, text in self.environment.items()}
        return subprocess.run(
            [INTENDANT, *arguments],
            capture_output=True,
            text=True,
            timeout=within_s,
            env={**ours, **(environment or {})},
            cwd=cwd or self.home,
            check=False,
        )

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """One command line against this daemon, while it runs; it ends with the test."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        given: dict[str, Any] = {"env": self.environment, "cwd": self.home, **pipes, **options}
        client: subprocess.Popen[str] = subprocess.Popen([INTENDANT, *arguments], **given)
        self._clients.append(client)
        return client

    def submit(self, *argv: str, flags: Sequence[str] = ()) -> int:
        """Submit a command; the run's id."""
        done = self.run("submit", *flags, "--", *argv)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def submit_scripts(self, script: str, *, times: int = 1, **options: object) -> list[int]:
        """Submit the same shell script so many times, all at once; the ids."""
        spec = {"workload": {"kind": "command", "argv": ["sh", "-c", script]}, **options}
        with self.client() as client:
            return [run.id for run in client.submit_all([spec] * times)]

    def client(self) -> Client:
        """A client of this daemon; close it."""
        return Client(client_endpoint(self.runtime_dir))

    def json(self, *arguments: str) -> Any:
        """What a verb that succeeds prints with `--json`."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def show(self, run_id: int) -> dict[str, Any]:
        """A run as `show --json` prints it; asked from here, as `answers` is."""
        return self._asked(lambda client: dict(client.show([run_id])["run"]))

    def status(self) -> dict[str, Any]:
        """The daemon as `status --json` prints it; asked from here, as `answers` is."""
        return self._asked(lambda client: dict(client.status()))

    def ready_zygote(self) -> int:
        """The launcher's helper, once it can be asked: one that still loads is sent nothing."""
        wait_for("its launcher is ready", lambda: "launcher_ready" in self.log_text())
        pid: int = self.status()["zygote"]["pid"]
        return pid

    def _asked(self, ask: Callable[[Client], dict[str, Any]]) -> dict[str, Any]:
        """What the daemon says, as soon as somebody answers: its broker may be on its way."""

        def answer() -> dict[str, Any] | None:
            with self.client() as client, suppress(Unreachable):
                return ask(client)
            return None

        return wait_for("somebody answers", answer) or {}

    def run_count(self) -> int:
        """How many runs it knows, in whatever state."""
        return sum(self.status()["runs"].values())

    def events(self, *run_ids: int) -> list[EventRecord]:
        """The event log, of these runs or of all."""
        body = wire.request("event_list_request", run_ids=list(run_ids))
        found: list[EventRecord] = []
        connection = SyncConnection(client_endpoint(self.runtime_dir))
        try:
            for is_final, answer in connection.stream(b"stream", lambda: body, timeout_s=20):
                if not is_final:
                    found += EventBatch.model_validate_json(answer[0]).events
        finally:
            connection.close()
        return found

    def wait_state(self, run_id: int, *states: str) -> dict[str, Any]:
        """The run, as soon as it is in one of these states."""

        def look() -> dict[str, Any] | None:
            with self.client() as client:
                run = client.show([run_id])["run"]
            return dict(run) if run["state"] in states else None

        return wait_for(f"run {run_id} is {' or '.join(states)}", look) or {}

    # --- what is there ---------------------------------------------------------------------------

    def log_text(self) -> str:
        """All that the daemon has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def attempt_folder(self, run_id: int, attempt: int = 1) -> Path:
        """An attempt's folder in the spool."""
        return self.state_dir / "spool" / str(run_id) / str(attempt)

    def claim(self, run_id: int, attempt: int = 1) -> dict[str, Any]:
        """The claim of an attempt, as soon as there is one: pid and start_time of its governor."""
        path = self.attempt_folder(run_id, attempt) / "claim"
        wait_for(f"attempt {run_id}.{attempt} is claimed", path.exists)
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def processes(self) -> dict[int, str]:
        """Every live process of these folders, this test apart, and what it is."""
        return {pid: what for pid, what in _processes() if str(self.home) in what}

    def assert_nothing_left(self) -> None:
        """Fail unless every process of this daemon is gone, or going right now."""
        wait_for("no process is left", lambda: not self.processes())

    def clean_up(self) -> dict[int, str]:
        """End everything; what was there although the daemon had ended (or was killed).

        A governor that has written its exit record waits up to 10 s for somebody to take it.
        """
        for client in self._clients:
            client.kill()
            with client:
                continue
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with suppress(AssertionError):
            wait_for("no process is left", lambda: not self.processes(), within_s=30.0)
        left = self.processes()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        shutil.rmtree(self.home, ignore_errors=True)
        return left


@contextmanager
def daemon_folders() -> Iterator[Daemon]:
    """Folders for a daemon (short, for its sockets); fails if a process outlives the block."""
    daemon = Daemon(Path(tempfile.mkdtemp(prefix="it-")))
    daemon.state_dir.mkdir()
    try:
        yield daemon
    finally:
        log = daemon.log_text()
        left = daemon.clean_up()
        sys.stderr.write(log[-6000:])
    assert not left, f"processes outlived the test: {left}"


def _processes() -> Iterator[tuple[int, str]]:
    """Every process but this one, with arguments, folder and environment in one text."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if b") Z " in (entry / "stat").read_bytes():
                continue
            parts = [(entry / name).read_bytes() for name in ("cmdline", "environ")]
            parts.append(os.fsencode((entry / "cwd").readlink()))
        except OSError:
            continue
        yield int(entry.name), b" ".join(parts).replace(b"\0", b" ").decode(errors="replace")
