"""What every kind of workload is to its governor: something to start, in a group of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a workload runs: its output files, its environment, its default folder."""

    stdout: Path
    stderr: Path
    environment: Mapping[bytes, bytes] = field(repr=False)
    folder: Path


class Workload(Protocol):
    """One kind of workload, made from its spec."""

    can_be_asked: bool
    """Whether it takes a request to end before signals are sent."""

    def start(self, surroundings: Surroundings) -> int:
        """Start it as the leader of a new process group; its pid. It is the caller's to reap.

        `WorkloadNotStarted` says why it could not be started. Never forks in Python: a governor
        holds an event loop and a zmq Context.
        """
        ...
