"""A measurement in a process of its own, which has what it measures and perhaps not us."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager


@contextmanager
def measuring(
    command: Sequence[str], variables: Mapping[str, str] | None = None
) -> Iterator[Callable[[], float]]:
    """Ask a program to measure once: it answers each line on its stdin with a figure."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, **(variables or {})},
    ) as host:
        assert host.stdin is not None
        assert host.stdout is not None
        stdin, stdout = host.stdin, host.stdout

        def ask() -> float:
            stdin.write("\n")
            return float(stdout.readline())

        yield ask
        stdin.close()
