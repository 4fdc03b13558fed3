"""Named places where a process can be made to die, for tests of what the others do then.

`INTENDANT_CRASHPOINT=governor.claimed` kills a process with SIGKILL when it gets there, as `kill
-9` or a machine's end would; `governor.claimed:3` the third time; `governor.claimed:3:FILE` makes
that file first, as proof; `governor.claimed:3:FILE:SIGSTOP` only stops it there. A process reads
the variable once, at its first crash point; without it a crash point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "INTENDANT_CRASHPOINT"

POINTS = (
    "executor.submitted",
    "executor.folder_made",
    "executor.granted",
    "executor.launched",
    "executor.start_answered",
    "executor.started",
    "executor.stop_recorded",
    "executor.end_told",
    "executor.ended",
    "executor.pruned",
    "writer.before_commit",
    "writer.committed",
    "broker.bound",
    "broker.received",
    "zygote.asked",
    "zygote.forked",
    "middle.forked",
    "governor.session_made",
    "governor.start_asked",
    "governor.claimed",
    "governor.workload_started",
    "governor.workload_ended",
    "governor.exit_written",
    "governor.told",
)
"""Every crash point there is."""


class _Trap:
    """What the variable asked for, read when first needed."""

    armed: str | None = None
    countdown: int = 1
    proof: str = ""
    signum: int = signal.SIGKILL
    is_read: bool = False

    def read(self) -> None:
        self.is_read = True
        said = (os.environ.get(VARIABLE, "") + ":::").split(":")
        name, count, self.proof, signum = said[:4]
        if name and name not in POINTS:
            raise ValueError(f"{VARIABLE}: found {name!r}, expected one of {', '.join(POINTS)}")
        self.armed = name or None
        self.countdown = int(count or 1)
        self.signum = signal.Signals[signum or "SIGKILL"]


_trap = _Trap()


def crash_point(name: str) -> None:
    """Die here if that was asked for."""
    if not _trap.is_read:
        _trap.read()
    if _trap.armed != name:
        return
    _trap.countdown -= 1
    if _trap.countdown == 0:
        if _trap.proof:
            Path(_trap.proof).touch()
        os.kill(os.getpid(), _trap.signum)


def forget_crash_points() -> None:
    """Read the variable again: for a process forked from one that had read it."""
    _trap.is_read = False
