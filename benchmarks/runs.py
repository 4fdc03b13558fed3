"""Runs, end to end: from the submission to the start, the end, or the cancel."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import floors
from benchmarks.row import Contest
from intendant import Client
from intendant.client.embedded import EmbeddedDaemon

QUEUE = "bench"
LONG_ENOUGH = ["sleep", "0.03"]
"""A workload that still runs when its start is told of."""
ENDLESS = ["sh", "-c", "echo $$; exec sleep 60"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo $$; exec sleep 60"]
GRACE_S = 0.5

Statistic = Callable[[Iterator[float]], float]


@contextmanager
def daemon(folder: Path, *, slots: int) -> Iterator[Client]:
    """A client of a private daemon whose state is on the disk that `folder` is on."""
    with EmbeddedDaemon(folder / "state", slots=slots) as embedded, embedded.client() as client:
        yield client


def noop_runs(slots: int, count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """No-op commands, from the submission until the end of the last is on disk; runs per second."""
    noop = {"workload": {"kind": "command", "argv": [floors.TRUE]}}

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with daemon(folder, slots=slots) as client:

            def ours() -> float:
                began = time.perf_counter()
                runs = client.submit_all([noop] * count)
                client.wait([run.id for run in runs])
                return count / (time.perf_counter() - began)

            yield ours, partial(floors.spawned_per_s, 5 * count, at_once=slots)

    return contest


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
    run = client.submit(LONG_ENOUGH, queue=QUEUE)
    told_at: dict[str, float] = {}
    for info in client.watch(run.id, changes=True):
        told_at[info["state"]] = time.perf_counter()
        if info["state"] == "queued":
            client.queue_resume(QUEUE)
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
