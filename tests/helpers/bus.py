"""Brokers and workers for tests that need real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.main import main
from intendant.broker.server import Server
from intendant.broker.worker import Handler, Worker
from intendant.process.aio import HelperProcess
from intendant.protocol import mdp
from tests.helpers.daemon import INTENDANT
from tests.helpers.waiting import wait_for


@contextmanager
def broker(*uris: str, private: bool = False, **config: object) -> Iterator[list[str]]:
    """A broker on this loop; the addresses that it listens at."""
    settings: dict[str, object] = {"open_registration": True, "heartbeat_s": 0.5, **config}
    endpoints = tuple(Endpoint(uri, private) for uri in uris)
    with Server(BrokerConfig(endpoints=endpoints, **settings)) as server:  # type: ignore[arg-type]  # a test names its own
        yield server.listen()


@asynccontextmanager
async def workers(
    uri: str, service: bytes, handler: Handler, *, count: int = 1,
    heartbeat_s: float = 0.5, liveness: int = mdp.LIVENESS, cancel_when_lost: bool = False,
) -> AsyncIterator[list[Worker]]:  # fmt: skip
    """Workers that are connected while the block runs."""
    given: dict[str, Any] = {"heartbeat_s": heartbeat_s, "liveness": liveness}
    made = [
        Worker(uri, service, handler, cancel_when_lost=cancel_when_lost, **given)
        for _ in range(count)
    ]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(worker.run()) for worker in made]
        try:
            async with asyncio.timeout(60):
                for worker in made:
                    await worker.ready.wait()
            yield made
        finally:
            for task in running:
                task.cancel()


class BrokerProcess:
    """A broker in a process of its own, as the daemon has one, with its control channel."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config

    async def start(self, *orders: dict[str, object]) -> dict[str, object]:
        """Start it, give it `orders` and let it bind; what it says then."""
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.process = HelperProcess(main, self._config, theirs, name="broker")
        with theirs:
            self.process.start()
        self._unread = b""
        for order in orders:
            self.tell(order)
        self.tell({"bind": True})
        return await self.said()

    def tell(self, order: dict[str, object]) -> None:
        """Send one line."""
        self._ours.send(json.dumps(order).encode() + b"\n")

    async def follow(self, order: dict[str, object]) -> dict[str, object]:
        """Send one line and wait until it is heeded; the counters since.

        Orders are followed one after the other, and this one has an answer.
        """
        self.tell(order)
        self.tell({"counters": True})
        return await self.said()

    async def said(self) -> dict[str, object]:
        """The next line that it says."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._unread:
            received = await loop.sock_recv(self._ours, 65_536)
            if not received:
                raise EOFError("the broker closed its channel")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        said: dict[str, object] = json.loads(line)
        return said

    def hang_up(self) -> None:
        """Close the channel, as the death of the executor does."""
        self._ours.close()

    async def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        await self.process.join()
        self.hang_up()


@asynccontextmanager
async def broker_process(config: BrokerConfig) -> AsyncIterator[BrokerProcess]:
    """A `BrokerProcess`, not yet started; killed at the end."""
    process = BrokerProcess(replace(config, log_level="warning"))
    try:
        yield process
    finally:
        await process.kill()


_TALKATIVE = {**os.environ, "PYTHONFAULTHANDLER": "1"}
"""With it a process that is aborted says where it was (faulthandler)."""
_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class BrokerAlone:
    """`intendant broker`, and where it listens."""

    process: subprocess.Popen[str]
    endpoints: list[str]
    pid: int
    """Of the broker itself, which the process keeps alive."""


@contextmanager
def broker_alone(
    *uris: str, heartbeat_s: float = 5.0, flags: Sequence[str] = ()
) -> Iterator[BrokerAlone]:
    """A broker in the foreground; listening when the block begins.

    How it ended by then, and what it said, is written where a failed test shows it.
    """
    command = [INTENDANT, "broker", "--heartbeat", str(heartbeat_s), *flags]
    for uri in uris:
        command += ["--listen", uri]
    with (
        tempfile.NamedTemporaryFile("r") as log,
        subprocess.Popen(command, stderr=log.fileno(), text=True, env=_TALKATIVE) as process,
    ):
        try:
            first = wait_for("the broker listens", lambda: _first_line(process, Path(log.name)))
            told = json.loads(first)
            yield BrokerAlone(process, told["endpoints"], told["pid"])
        finally:
            said = Path(log.name).read_text(errors="replace")[-_SHOWN:]
            sys.stderr.write(f"broker {process.pid}: exit status {process.poll()}\n{said}\n")
            process.kill()  # the broker sees the end of its channel, and goes


def _first_line(process: subprocess.Popen[str], log: Path) -> str:
    """What a process has said first, once it has said so much; fails when it has ended."""
    assert process.poll() is None, log.read_text()
    line, end, _ = log.read_text().partition("\n")
    return line if end else ""


def send_without_end(path: Path) -> None:
    """Send one message, frame after frame, until that is the broker's end (ZMTP 3.0, RFC 23)."""
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    size = 1024 * 1024
    frame = b"\x03" + size.to_bytes(8, "big") + bytes(size)  # long, and more will follow
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(str(path))
        peer.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(52, b"\0"))
        while b"ROUTER" not in peer.recv(65_536):
            continue
        peer.sendall(b"\x04" + bytes([len(ready)]) + ready)
        with suppress(ConnectionError):
            for _ in range(4096):
                peer.sendall(frame)
            raise AssertionError("the broker took four gigabytes")
