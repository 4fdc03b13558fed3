"""What every kind of workload is to its governor: something to start, in a group of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from intendant.process.stub import Stub


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a workload runs: its output files, its environment, its default folder."""

    stdout: Path
    stderr: Path
    environment: Mapping[bytes, bytes] = field(repr=False)
    folder: Path
    stub: Stub
    attempt_folder: Path
    label: str
    """Run and attempt, for the titles of processes: `17.1`."""


class Workload(Protocol):
    """One kind of workload, made from its spec."""

    def start(self, surroundings: Surroundings) -> int:
        """Start it as the leader of a new process group; its pid. It is the caller's to reap.

        `WorkloadNotStarted` says why it could not be started. Never forks in Python: a governor
        holds an event loop and a zmq Context.
        """
        ...

    def ask(self) -> None:
        """Ask it to end, before any signal; for those whose spec says `can_be_asked`. Idempotent.

        Never blocks, and it does not matter whether it still lives.
        """
        ...

    def failure(self, status: int) -> str | None:
        """Why it failed, where it knows better than its exit status; asked once it has ended."""
        ...
