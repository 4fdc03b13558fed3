"""Runs, end to end: from the submission to the start, the end, or the cancel."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import floors
from benchmarks.row import Contest
from intendant import Client
from intendant.client.embedded import EmbeddedDaemon

QUEUE = "bench"
ENDLESS = ["sh", "-c", "echo $$; exec sleep 60"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo $$; exec sleep 60"]
GRACE_S = 0.5
NOOP: Mapping[str, object] = {"kind": "command", "argv": [floors.TRUE]}
NOOP_CALL: Mapping[str, object] = {"kind": "call", "target": "time:time"}

Statistic = Callable[[Iterator[float]], float]


@contextmanager
def daemon(folder: Path, *, slots: int) -> Iterator[Client]:
    """A client of a private daemon whose state is on the disk that `folder` is on."""
    with EmbeddedDaemon(folder / "state", slots=slots) as embedded, embedded.client() as client:
        yield client


def noop_runs(slots: int, count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """No-op commands beside bare processes; runs per second."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with daemon(folder, slots=slots) as client:
            peer = partial(floors.spawned_per_s, 5 * count, at_once=slots)
            yield partial(noops_per_s, client, count), peer

    return contest


def noop_calls(slots: int, count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """Calls that do nothing, each in an interpreter of its own; runs per second.

    The peer's processes stay: it is what one does without a queue that outlives its program.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with daemon(folder, slots=slots) as client, ProcessPoolExecutor(slots) as pool:
            ours = partial(noops_per_s, client, count, NOOP_CALL)
            yield ours, partial(_called_per_s, pool, 5 * count)

    return contest


def noops_per_s(client: Client, count: int, workload: Mapping[str, object] = NOOP) -> float:
    """From the submission of so many until the end of the last is on disk; per second."""
    began = time.perf_counter()
    runs = client.submit_all([{"workload": workload}] * count)
    ends = client.wait([run.id for run in runs])
    assert all(end["outcome"] == "succeeded" for end in ends)
    return count / (time.perf_counter() - began)


def _called_per_s(pool: Executor, count: int) -> float:
    began = time.perf_counter()
    for called in [pool.submit(time.time) for _ in range(count)]:
        called.result()
    return count / (time.perf_counter() - began)


def start_to_response(
    statistic: Statistic, count: int
) -> Callable[[Path], AbstractContextManager[Contest]]:
    """From a granted slot to a start that the daemon has recorded, as a client is told; ms."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with daemon(folder, slots=1) as client:
            client.queue_set(QUEUE, slots=1)
            yield (
                lambda: statistic(_start_ms(client) for _ in range(count)),
                lambda: statistic(floors.spawn_ms(count)),
            )

    return contest


def _start_ms(client: Client) -> float:
    """One start. The queue is held back until the watch stands, so that no change is missed."""
    client.queue_pause(QUEUE)
    run = client.submit(ENDLESS, queue=QUEUE)  # a short one may have ended before it is told of
    told_at: dict[str, float] = {}
    for info in client.watch(run.id, changes=True):
        told_at[info["state"]] = time.perf_counter()
        if info["state"] == "queued":
            client.queue_resume(QUEUE)
        if info["state"] == "running":
            run.cancel()
    return 1000 * (told_at["running"] - told_at["starting"])


def cancel_to_empty(
    statistic: Statistic, count: int, *, is_stubborn: bool = False
) -> Callable[[Path], AbstractContextManager[Contest]]:
    """From a client's cancel to the end of a workload; ms.

    It obeys SIGTERM, or it is stubborn: then its grace is taken off.
    """
    measure = _stubborn_cancel_ms if is_stubborn else _cancel_ms

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with daemon(folder, slots=1) as client:
            yield (
                lambda: statistic(measure(client) for _ in range(count)),
                lambda: statistic(floors.terminate_ms(count)),
            )

    return contest


def _stubborn_cancel_ms(client: Client) -> float:
    return _cancel_ms(client, STUBBORN) - 1000 * GRACE_S


def _cancel_ms(client: Client, argv: Sequence[str] = ENDLESS) -> float:
    run = client.submit(argv, grace_s=GRACE_S)
    pid = int(next(run.logs(follow=True)))
    workload = os.pidfd_open(pid)
    try:
        began = time.perf_counter()
        run.cancel()
        select.select([workload], [], [], 60)
        ended = time.perf_counter()
    finally:
        os.close(workload)
    run.wait()
    return 1000 * (ended - began)
