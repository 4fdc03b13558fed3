"""Futures: from the making of an executor to the first result of a trivial call; ms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.measuring import measuring
from benchmarks.peers import python_with
from benchmarks.row import Contest
from benchmarks.runs import daemon

SUBMITIT = "submitit==1.5.3"


@contextmanager
def first_future(folder: Path) -> Iterator[Contest]:
    """Beside a process pool, whose one process is forked for it."""
    with daemon(folder, slots=1) as client:
        yield lambda: _first_ms(client.executor), lambda: _first_ms(lambda: ProcessPoolExecutor(1))


@contextmanager
def first_future_beside_submitit(folder: Path) -> Iterator[Contest]:
    """Beside the other executor that keeps what it runs on disk."""
    python = python_with(SUBMITIT)
    program = Path(__file__).with_name("submitit_peer.py")
    with ExitStack() as stack:
        client = stack.enter_context(daemon(folder, slots=1))
        peer = python and stack.enter_context(
            measuring([python, str(program), str(folder / "submitit")])
        )
        yield lambda: _first_ms(client.executor), peer or None


def _first_ms(make: Callable[[], Executor]) -> float:
    began = time.perf_counter()
    with make() as executor:
        assert executor.submit(pow, 2, 10).result() == 1024
        return 1000 * (time.perf_counter() - began)
