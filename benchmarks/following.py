"""Following a log: how late a line comes, and how many bytes pass in a second; `tail -f` beside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.row import Contest, median_of
from benchmarks.runs import daemon
from intendant import Client

LINES = 50
EVERY_S = 0.02
CHUNK = 64 * 1024
MUCH = 64 * 1024 * 1024
NOW = time.CLOCK_MONOTONIC
"""One clock for every process of the machine."""
TELLING = f"""
import os, time
for _ in range({LINES}):
    time.sleep({EVERY_S})
    os.write(1, b"%d\\n" % time.clock_gettime_ns({NOW}))
"""
POURING = ["head", "--bytes", str(MUCH), "/dev/zero"]


@contextmanager
def latency(folder: Path) -> Iterator[Contest]:
    """From the writing of a line by a run to its arrival at a client that follows; ms."""
    with daemon(folder, slots=1) as client:
        yield partial(_followed_ms, client), partial(_tailed_ms, folder / "told")


def _followed_ms(client: Client) -> float:
    run = client.submit([sys.executable, "-S", "-c", TELLING])
    return median_of(_late_ms(run.logs(follow=True)))


def _tailed_ms(path: Path) -> float:
    with path.open("wb") as file, _tail(path) as tail:
        assert tail.stdout is not None
        with subprocess.Popen([sys.executable, "-S", "-c", TELLING], stdout=file):
            return median_of(_late_ms(tail.stdout, most=LINES))


def _late_ms(pieces: Iterable[bytes], most: int | None = None) -> Iterator[float]:
    """How old the newest line of each piece is as the piece arrives."""
    seen = 0
    for piece in pieces:
        now = time.clock_gettime_ns(NOW)
        lines = piece.split()
        yield (now - int(lines[-1])) / 1e6
        seen += len(lines)
        if seen == most:
            return


@contextmanager
def throughput(folder: Path) -> Iterator[Contest]:
    """A run's output, of which there is much, to a client that follows from the beginning; MB/s."""
    with daemon(folder, slots=1) as client:
        yield partial(_followed_mb_per_s, client), partial(_tailed_mb_per_s, folder / "poured")


def _followed_mb_per_s(client: Client) -> float:
    run = client.submit(POURING)
    return _mb_per_s(run.logs(follow=True))


def _tailed_mb_per_s(path: Path) -> float:
    with path.open("wb") as file, _tail(path) as tail:
        assert tail.stdout is not None
        with subprocess.Popen(POURING, stdout=file):
            return _mb_per_s(iter(partial(os.read, tail.stdout.fileno(), CHUNK), b""))


def _mb_per_s(pieces: Iterable[bytes]) -> float:
    """From the first piece to the last."""
    began, seen = 0.0, 0
    for piece in pieces:
        began = began or time.perf_counter()
        seen += len(piece)
        if seen == MUCH:
            break
    assert seen == MUCH
    return MUCH / 1e6 / (time.perf_counter() - began)


@contextmanager
def _tail(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = ["tail", "--bytes", "+1", "--follow", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tail:
        try:
            yield tail
        finally:
            tail.kill()
