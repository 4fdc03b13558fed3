"""What runs cost that do nothing: memory and processor time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.processes import cpu_ns, pss_mb
from benchmarks.row import Contest
from intendant.client.embedded import EmbeddedDaemon

SLEEP = ["sleep", "600"]
GOVERNORS = 50
RUNS = 100
WINDOW_S = 5.0
SETTLED_S = 2.0
BARE_PYTHON = [sys.executable, "-c", "import time; time.sleep(600)"]
WAITING_PYTHON = f"""
import asyncio, signal, sys

async def main():
    several = [await asyncio.create_subprocess_exec(*{SLEEP}) for _ in range({RUNS})]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    print(flush=True)
    try:
        await asyncio.gather(*(one.wait() for one in several))
    except asyncio.CancelledError:
        for one in several:
            one.kill()

asyncio.run(main())
"""


Pids = Callable[[EmbeddedDaemon], list[int]]


def memory(of: Pids) -> Callable[[Path], AbstractContextManager[Contest]]:
    """What one of these processes of a daemon with live runs takes (PSS), beside a bare Python; MB.

    There are as many of the latter, since they share memory as well.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with _resting_runs(folder, GOVERNORS) as embedded, ExitStack() as stack:
            ours = of(embedded)
            bare = [stack.enter_context(_killed_after(BARE_PYTHON)) for _ in ours]
            time.sleep(SETTLED_S)
            yield lambda: pss_mb(ours) / len(ours), lambda: pss_mb(bare) / len(bare)

    return contest


def executor(embedded: EmbeddedDaemon) -> list[int]:
    """The daemon itself."""
    return [embedded.pid]


def broker(embedded: EmbeddedDaemon) -> list[int]:
    """Its broker."""
    with embedded.client() as client:
        pid = client.status()["broker"]["pid"]
    assert pid is not None
    return [pid]


def governors(embedded: EmbeddedDaemon) -> list[int]:
    """The governors of its runs."""
    children = psutil.Process(embedded.pid).children()
    pids = [one.pid for one in children if one.cmdline()[0].startswith(_GOVERNOR)]
    assert len(pids) == GOVERNORS, [one.cmdline() for one in children]
    return pids


@contextmanager
def _killed_after(command: Sequence[str]) -> Iterator[int]:
    with subprocess.Popen(command) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@contextmanager
def idle_cpu(folder: Path) -> Iterator[Contest]:
    """The time of executor, broker and launcher while nothing happens to the runs; % of a CPU."""
    with _resting_runs(folder, RUNS) as embedded:
        with embedded.client() as client:
            daemon = client.status()
        helpers = daemon["broker"]["pid"], daemon["zygote"]["pid"]
        ours = [embedded.pid, *filter(None, helpers)]
        command = [sys.executable, "-c", WAITING_PYTHON]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
            assert waiting.stdout is not None
            waiting.stdout.readline()
            time.sleep(SETTLED_S)
            yield lambda: _cpu_percent(ours), lambda: _cpu_percent([waiting.pid])
            waiting.terminate()


_GOVERNOR = "intendant: governor"


@contextmanager
def _resting_runs(folder: Path, count: int) -> Iterator[EmbeddedDaemon]:
    """A daemon with so many runs that only sleep."""
    with EmbeddedDaemon(folder / "state", slots=count) as embedded:
        with embedded.client() as client:
            spec = {"workload": {"kind": "command", "argv": SLEEP}}
            runs = [run.id for run in client.submit_all([spec] * count)]
            started: set[int] = set()
            for info in client.watch(runs, changes=True):
                if info["state"] == "running":
                    started.add(info["id"])
                if len(started) == count:
                    break
        yield embedded


def _cpu_percent(pids: Collection[int]) -> float:
    """Time on a CPU during a window, of all threads."""
    before, began = cpu_ns(pids), time.perf_counter_ns()
    time.sleep(WINDOW_S)
    return 100 * (cpu_ns(pids) - before) / (time.perf_counter_ns() - began)
