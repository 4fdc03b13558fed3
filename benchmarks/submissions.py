"""Submissions: acknowledged, so on disk, by one client and by many at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import floors
from benchmarks.row import Contest
from benchmarks.runs import QUEUE
from intendant import Client
from intendant.broker.client import Connection
from intendant.client.embedded import EmbeddedDaemon

Body = list[bytes]


def submissions(clients: int, count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """Commands queued one by one by so many clients at once; per second, over all of them.

    The requests are made before the clock runs: what is measured is the daemon, not its client.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with EmbeddedDaemon(folder / "state", slots=1) as embedded:
            with embedded.client() as client:
                client.queue_set(QUEUE, slots=1)
                client.queue_pause(QUEUE)

            def ours() -> float:
                bodies = _requests(embedded.endpoint, count)
                return asyncio.run(_submit_all(embedded.endpoint, bodies, clients))

            yield ours, partial(floors.flushes_per_s, folder / "floor", 500)

    return contest


async def _submit_all(endpoint: str, bodies: list[Body], clients: int) -> float:
    """Send every request, each client one after the other; per second."""
    connections = [Connection(endpoint) for _ in range(clients)]
    for connection in connections:
        await connection.request(b"mmi.service", [b"executor"])  # connected from here on
    left = iter(bodies)

    async def submit(connection: Connection) -> None:
        for body in left:
            [answer] = await connection.request(b"executor", body)
            assert b"run_submit_response" in answer, answer

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for connection in connections:
            tasks.create_task(submit(connection))
    took_s = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return len(bodies) / took_s


def _requests(endpoint: str, count: int) -> list[Body]:
    """What a client sends for so many commands, its environment and a key with each."""
    recorder = _Recorder()
    with Client(endpoint, connect=lambda _: recorder) as client:
        for _ in range(count):
            client.submit([floors.TRUE], queue=QUEUE)
    return recorder.bodies


class _Recorder:
    """Takes the place of a client's connection, and keeps what would have been sent."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []

    def request(self, service: bytes, body: Body, *, timeout_s: float) -> Body:  # noqa: ARG002
        """An answer that any submission can take."""
        self.bodies.append(body)
        return [json.dumps({"kind": "run_submit_response", "run_ids": [1]}).encode()]

    def stream(
        self, service: bytes, body: Callable[[], Body], *, timeout_s: float | None
    ) -> Iterator[tuple[bool, Body]]:
        raise NotImplementedError("a submission is no stream")

    def close(self) -> None:
        """Nothing is open."""
