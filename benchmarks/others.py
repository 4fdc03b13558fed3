"""No-op commands beside other programs that run commands for somebody; runs per second."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.floors import TRUE
from benchmarks.measuring import measuring
from benchmarks.peers import python_with
from benchmarks.row import Contest
from benchmarks.runs import daemon, noops_per_s

DASK = "distributed==2026.8.0"
HYPERQUEUE = "hyperqueue==0.27.0"
TASK_SPOOLER = "tsp"
"""The name of task-spooler's program in Debian's package."""

Measure = Callable[[], float]
Peer = Callable[[ExitStack, Path, int, int], Measure | None]
"""Given what cleans up, an empty folder, slots and a count: what measures, if it is here."""


def noop_runs_beside(
    peer: Peer, slots: int, count: int
) -> Callable[[Path], AbstractContextManager[Contest]]:
    """So many no-op commands on so many slots."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with ExitStack() as stack:
            client = stack.enter_context(daemon(folder, slots=slots))
            theirs = peer(stack, folder / "peer", slots, count)
            yield partial(noops_per_s, client, count), theirs

    return contest


def dask(stack: ExitStack, _: Path, slots: int, count: int) -> Measure | None:
    """Dask's workers, each of which starts a program for each of its tasks."""
    return _in_python(stack, DASK, "dask_peer.py", str(slots), str(count))


def hyperqueue(stack: ExitStack, folder: Path, slots: int, count: int) -> Measure | None:
    """A server and a worker of HyperQueue's on this machine.

    More programs than for others: its client looks but once a second whether they have ended.
    """
    words = str(slots), str(10 * count), str(folder)
    return _in_python(stack, HYPERQUEUE, "hyperqueue_peer.py", *words)


def _in_python(stack: ExitStack, requirement: str, program: str, *words: str) -> Measure | None:
    python = python_with(requirement)
    if python is None:
        return None
    command = [python, str(Path(__file__).with_name(program)), *words]
    return stack.enter_context(measuring(command))


def task_spooler(stack: ExitStack, folder: Path, slots: int, count: int) -> Measure | None:
    """task-spooler, whose program is called for each command; never installed for this."""
    program = shutil.which(TASK_SPOOLER)
    if program is None:
        print("task-spooler is not installed", file=sys.stderr)
        return None
    folder.mkdir()
    places = {"TS_SOCKET": str(folder / "socket"), "TMPDIR": str(folder)}

    def ask(*words: str) -> str:
        command = [program, *words]
        return subprocess.run(
            command, env=os.environ | places, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()

    def measure() -> float:
        began = time.perf_counter()
        ids = [ask("-n", TRUE) for _ in range(count)]
        for one in ids[-slots:]:
            ask("-w", one)
        return count / (time.perf_counter() - began)

    ask("-S", str(slots))
    stack.callback(ask, "-K")
    return measure
