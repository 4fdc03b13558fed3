"""Submissions: acknowledged, so on disk, by one client and by many at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import floors
from benchmarks.row import Contest, p99_of
from benchmarks.runs import NOOP, QUEUE
from intendant import Client
from intendant.broker.client import Connection
from intendant.client.embedded import EmbeddedDaemon

SLOTS = 8
CHURNING = 2000
"""More runs than end while the submissions are made; the rest is cancelled."""

Body = list[bytes]


def submissions(clients: int, count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """Commands queued one by one by so many clients at once; per second, over all of them.

    The requests are made before the clock runs: what is measured is the daemon, not its client.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with _daemon(folder, slots=1) as (endpoint, _):

            def ours() -> float:
                return _submit(endpoint, _requests(endpoint, count), clients).per_s

            yield ours, partial(floors.flushes_per_s, folder / "floor", 500)

    return contest


def p99_beside_runs(clients: int, count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """What 99 of 100 submissions by so many clients take less than, while no-op runs churn; ms.

    The peer is the same while nothing runs.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with _daemon(folder, slots=SLOTS) as (endpoint, client):

            def ours() -> float:
                bodies = _requests(endpoint, count)
                with _churning(client):
                    return p99_of(_submit(endpoint, bodies, clients).took_ms)

            def peer() -> float:
                return p99_of(_submit(endpoint, _requests(endpoint, count), clients).took_ms)

            yield ours, peer

    return contest


@contextmanager
def _daemon(folder: Path, *, slots: int) -> Iterator[tuple[str, Client]]:
    """Where a daemon is whose queue `QUEUE` is paused, and a client of it."""
    with EmbeddedDaemon(folder / "state", slots=slots) as embedded, embedded.client() as client:
        client.queue_set(QUEUE, slots=1)
        client.queue_pause(QUEUE)
        yield embedded.endpoint, client


@contextmanager
def _churning(client: Client) -> Iterator[None]:
    """Every slot has a no-op run after another."""
    runs = client.submit_all([{"workload": NOOP}] * CHURNING)
    ids = [run.id for run in runs]
    try:
        runs[0].wait()
        yield
        assert runs[-1].refresh()["state"] != "ended", "there were too few of them"
    finally:
        client.cancel(ids)
        client.wait(ids)


@dataclass(frozen=True, slots=True)
class _Submitted:
    """How many a second, over all; how long each took."""

    per_s: float
    took_ms: list[float]


def _submit(endpoint: str, bodies: list[Body], clients: int) -> _Submitted:
    """Send every request, each client one after the other."""
    return asyncio.run(_submit_all(endpoint, bodies, clients))


async def _submit_all(endpoint: str, bodies: list[Body], clients: int) -> _Submitted:
    connections = [Connection(endpoint) for _ in range(clients)]
    for connection in connections:
        await connection.request(b"mmi.service", [b"executor"])  # connected from here on
    left = iter(bodies)
    took_ms: list[float] = []

    async def submit(connection: Connection) -> None:
        for body in left:
            began = time.perf_counter()
            [answer] = await connection.request(b"executor", body)
            took_ms.append(1000 * (time.perf_counter() - began))
            assert b"run_submit_response" in answer, answer

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for connection in connections:
            tasks.create_task(submit(connection))
    took_s = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return _Submitted(len(bodies) / took_s, took_ms)


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
