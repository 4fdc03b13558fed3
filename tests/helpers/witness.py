"""What the workloads themselves say: one file, appended to by all of them, a line at a time."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.helpers.waiting import wait_for


@dataclass(frozen=True, slots=True)
class Line:
    """`word run attempt pid`, as one write(2) of a workload."""

    word: str
    run_id: int
    attempt: int
    pid: int


class Witness:
    """The file, and the shell commands that write to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def says(self, word: str) -> str:
        """A shell command that appends a line; O_APPEND keeps lines of many writers whole."""
        return f'echo "{word} $INTENDANT_RUN_ID $INTENDANT_ATTEMPT $$" >>{self.path}'

    def lines(self, word: str | None = None) -> list[Line]:
        """What was said so far, in order."""
        if not self.path.exists():
            return []
        found = []
        for text in self.path.read_text().splitlines():
            said, run_id, attempt, pid = text.split()
            found.append(Line(said, int(run_id), int(attempt), int(pid)))
        return [line for line in found if word in (None, line.word)]

    def wait_said(self, word: str, *, times: int = 1, run_id: int | None = None) -> list[Line]:
        """The lines with this word, once there are as many."""

        def look() -> list[Line]:
            said = [line for line in self.lines(word) if run_id in (None, line.run_id)]
            return said if len(said) >= times else []

        return wait_for(f"{times} x {word!r} in the witness file", look)

    def wait_started(self, times: int = 1) -> list[int]:
        """The pids of the workloads, once so many have started."""
        return [line.pid for line in self.wait_said("start", times=times)]

    # --- workloads, as shell scripts -------------------------------------------------------------

    def cooperative(self) -> str:
        """Runs until SIGTERM."""
        return f"{self.says('start')}; exec sleep 600"

    def stubborn(self) -> str:
        """Runs until SIGKILL."""
        return f"trap '' TERM; {self.says('start')}; while :; do sleep 600; done"

    def patient(self, gate: Gate, *, status: int = 0) -> str:
        """Runs until the gate opens, whatever SIGTERM may say."""
        lines = ["trap '' TERM", self.says("start"), gate.wait, self.says("end"), f"exit {status}"]
        return "; ".join(lines)

    def assert_no_attempt_started_twice(self) -> None:
        """What every release promises of every attempt."""
        starts = Counter((line.run_id, line.attempt) for line in self.lines("start"))
        assert all(times == 1 for times in starts.values()), starts


class Gate:
    """A lock that workloads wait at; the test holds it until it opens the gate."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.wait = f"flock -s {path} true"
        """A shell command that ends when the gate is open."""

    def open(self) -> None:
        """Let all pass, now and from now on."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
