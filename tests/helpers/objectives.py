"""Objectives of studies, for system tests; they run in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from intendant import trial


def square(x: float) -> float:
    """The best is at 0.3."""
    return (x - 0.3) ** 2


def curve(x: float, steps: int = 9) -> None:
    """Reports a falling loss, and heeds what it is told."""
    for step in range(1, steps + 1):
        if trial.report(step=step, loss=x + 1 / step) is not trial.Decision.CONTINUE:
            return


def counted(x: float, steps: int = 5, pause_s: float = 0.0) -> None:
    """Counts steps in a file that it checkpoints; goes on from there; notes each step it does."""
    kept = trial.checkpoint()
    done = int((kept / "count").read_text()) if kept else 0
    mine = trial.folder() / "model"
    mine.mkdir(exist_ok=True)
    with (trial.folder() / "steps.log").open("a") as log:
        for step in range(done + 1, steps + 1):
            time.sleep(pause_s)
            log.write(f"{step}\n")
            log.flush()
            (mine / "count").write_text(str(step))
            trial.report(step=step, loss=x / step, checkpoint=mine)


def failing(x: float, at_number: int = 0) -> float:
    """One of them raises."""
    if trial.number() == at_number:
        raise ValueError(f"no luck with {x}")
    return x


def killed(x: float) -> float:
    """Its second trial dies of a signal."""
    if trial.number() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def deaf(x: float) -> None:
    """Never ends by itself, ignores SIGTERM, and has children that left its group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["setsid", "sleep", "1000"])
    while True:
        trial.report(loss=x)
        time.sleep(0.02)


def backwards(x: float) -> None:
    """Reports an earlier step after a later one."""
    trial.report(step=5, loss=x)
    trial.report(step=4, loss=x)


def vanished(x: float) -> None:
    """Reports a checkpoint that is not there."""
    trial.report(loss=x, checkpoint=Path("/nowhere/at/all"))


def leaves(x: float) -> float:
    """Leaves a process running."""
    subprocess.Popen(["sleep", "1000"])
    return x


def exits(x: float) -> None:  # noqa: ARG001
    """Goes without a word."""
    os._exit(0)


def odd(x: float, how: str = "nan") -> object:
    """Returns what is no result."""
    odd_results = {
        "nan": float("nan"),
        "inf": {"loss": float("inf")},
        "missing": {"accuracy": x},
        "text": "good",
        "nothing": None,
    }
    return odd_results[how]


def process(x: float) -> dict[str, float]:
    """Which process it is."""
    return {"loss": x, "pid": float(os.getpid())}
