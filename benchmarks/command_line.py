"""The command line: what a person waits for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.row import Contest, median_of
from benchmarks.runs import QUEUE
from intendant.client.embedded import EmbeddedDaemon

INTENDANT = str(Path(sys.executable).with_name("intendant"))
IMPORTS = [sys.executable, "-c", "import zmq, click"]
AT_ONCE = 5


@contextmanager
def ls_cold(folder: Path) -> Iterator[Contest]:
    """`intendant ls` with a page of queued runs, from its start to its end; ms."""
    with EmbeddedDaemon(folder / "state", slots=1) as embedded:
        with embedded.client() as client:
            client.queue_set(QUEUE, slots=1)
            client.queue_pause(QUEUE)
            spec = {"workload": {"kind": "command", "argv": ["true"]}, "queue": QUEUE}
            client.submit_all([spec] * 100)
        ls = [INTENDANT, "--endpoint", embedded.endpoint, "ls"]
        yield lambda: median_of(command_ms(ls)), lambda: median_of(command_ms(IMPORTS))


def command_ms(command: Sequence[str]) -> Iterator[float]:
    """The times from the start of a program to its end, a few in a row."""
    for _ in range(AT_ONCE):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=dict(os.environ))
        yield 1000 * (time.perf_counter() - began)
