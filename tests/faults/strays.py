"""What the workloads of fault tests leave behind on purpose: it must not outlive their runs.

A stray has a session of its own, is nobody's child, and has dropped its environment and its folder.
What is left is its one argument: no other process in the world sleeps for just so long.
"""

from __future__ import annotations

import os
import random
import signal
from collections import defaultdict
from contextlib import suppress

from tests.helpers.ground_truth import processes_with


class Strays:
    """The strays of one test."""

    def __init__(self) -> None:
        self._seconds = 31_536_000_000 + random.SystemRandom().randrange(1_000_000)
        self.leave = (
            f"(cd /; setsid env -i sleep {self._seconds}.$INTENDANT_RUN_ID "
            "</dev/null >/dev/null 2>&1 &)"
        )
        """A shell command that leaves one."""

    def alive(self) -> dict[int, list[int]]:
        """Those that live, by run: a scan of all processes."""
        found: dict[int, list[int]] = defaultdict(list)
        for pid, arguments in processes_with(f"{self._seconds}.").items():
            if arguments.startswith("sleep "):
                found[int(arguments.split()[1].partition(".")[2])].append(pid)
        return dict(found)

    def kill(self) -> None:
        """End them all."""
        for pids in self.alive().values():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
