"""What a service manager hears of the daemon (sd_notify(3)), at a socket of the test's own."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.waiting import PATIENCE_S


class Manager:
    """Keeps every message that it is sent."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.heard: list[str] = []

    def wait(self, assignment: str) -> None:
        """Return once this was said (again)."""
        said: list[str] = []
        while assignment not in said:
            said = self._channel.recv(4096).decode().splitlines()
            self.heard += said


@pytest.fixture
def address(folders: Daemon) -> str:
    """Where the manager listens, as NOTIFY_SOCKET says it."""
    return f"{folders.home}/notify"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as channel:
        channel.bind(address)
        channel.settimeout(PATIENCE_S)
        yield Manager(channel)


def test_a_service_manager_hears_how_the_daemon_is_and_from_nobody_else(
    folders: Daemon, manager: Manager, address: str
) -> None:
    folders.start(environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "500000"})
    manager.wait("READY=1")
    manager.wait("STATUS=running, 0 runs live")
    for _ in range(3):
        manager.wait("WATCHDOG=1")

    run_id = folders.submit("sleep", "600")
    manager.wait("STATUS=running, 1 run live")
    helpers = [folders.status()[name]["pid"] for name in ("broker", "zygote")]
    for pid in (*helpers, folders.claim(run_id)["pid"]):
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
    folders.run("cancel", str(run_id))
    manager.wait("STATUS=running, 0 runs live")
    assert "STOPPING=1" not in manager.heard

    folders.send(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert folders.wait() == 143
    assert "STATUS=starting" in manager.heard
    assert manager.heard.count("READY=1") == 1


def test_while_a_daemon_drains_it_is_not_said_to_be_stopping(
    folders: Daemon, manager: Manager, address: str
) -> None:
    folders.start(environment={"NOTIFY_SOCKET": address})
    run_id = folders.submit("sleep", "600")
    folders.wait_state(run_id, "running")

    folders.run("shutdown", "--drain")
    manager.wait("STATUS=draining, 1 run live")
    assert "STOPPING=1" not in manager.heard

    folders.run("cancel", str(run_id))
    manager.wait("STOPPING=1")
    assert folders.wait() == 0
