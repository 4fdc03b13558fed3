"""Objectives of studies, for system tests; they run in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from intendant import trial
from intendant.protocol.trial_states import Decision
from intendant.workloads.study.hooks import Callbacks
from intendant.workloads.study.schedulers import FifoScheduler

if TYPE_CHECKING:
    from pydantic import JsonValue

    from intendant.protocol.study import StudySpec
    from intendant.workloads.study.hooks import History
    from intendant.workloads.study.trials import Result, Trial, Trials


def square(x: float) -> float:
    """The best is at 0.3."""
    return (x - 0.3) ** 2


def two_sided(x: float) -> dict[str, float]:
    """The faster the larger; below 0.3 it is larger than it would have to be."""
    return {"speed": x, "size": x * x if x > 0.3 else 2.0}


def curve(x: float, steps: int = 9) -> None:
    """Reports a falling loss, and heeds what it is told; leaves a file when it is to stop."""
    for step in range(1, steps + 1):
        decision = trial.report(step=step, loss=x + 1 / step)
        if decision is trial.Decision.STOP:
            (trial.folder() / "model").touch()
        if decision is not trial.Decision.CONTINUE:
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


def dies_once(x: float) -> None:
    """Is killed after its second step, and goes on from there."""
    is_new = trial.checkpoint() is None
    counted(x, steps=2)
    if is_new:
        os.kill(os.getpid(), signal.SIGKILL)
    counted(x, steps=4)


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


def lingering(x: float) -> float:
    """The first trial does not come to an end, the others take a second."""
    time.sleep(600 if trial.number() == 0 else 1.0)
    return x


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


def multiplies(x: float) -> float:
    """Forks a copy of itself, which outlives it."""
    if os.fork() == 0:
        time.sleep(600)
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
        "lengthy": {"loss": x, "text": " " * trial.MAX_LINE_BYTES},
    }
    return odd_results[how]


def needy(x: float, needs: str = "") -> float:
    """Trial 1 fails while a file is missing."""
    if trial.number() == 1 and not Path(needs).exists():
        raise FileNotFoundError(needs)
    return x


def process(x: float) -> dict[str, float]:
    """Which process it is."""
    return {"loss": x, "pid": float(os.getpid())}


class Stairs:
    """A searcher of one's own: 0.9, 0.8, …; its scheduler stops nobody."""

    def __init__(self, spec: StudySpec) -> None:
        self._left = [0.9, 0.8, 0.7][: spec.trials]

    def suggest(self, trial: Trial) -> dict[str, JsonValue] | None:
        return {"x": self._left.pop(0)} if self._left else None

    def is_finished(self) -> bool:
        return not self._left

    def set_finished(self) -> None:
        self._left = []

    def on_trial_result(self, trial: Trial, result: Result) -> None:
        """Not of interest."""

    def on_trial_complete(self, trial: Trial, result: Result | None, *, error: bool) -> None:
        """Not of interest."""

    def save(self) -> bytes:
        return json.dumps(self._left).encode()

    def restore(self, state: bytes, trials: Iterable[History]) -> None:
        self._left = json.loads(state)


class Diary(Callbacks):
    """Callbacks of one's own: they write into the folder of the run."""

    def __init__(self, spec: StudySpec) -> None:
        self._file = Path(os.environ["INTENDANT_RUN_DIR"], "diary")
        self._metric = spec.metric

    def on_trial_complete(self, trial: Trial) -> None:
        self._note(f"{trial.number} {trial.outcome}")

    def on_study_end(self) -> None:
        self._note("end")

    def _note(self, line: str) -> None:
        with self._file.open("a") as file:
            file.write(f"{line}\n")


class PausingOnce(FifoScheduler):
    """A scheduler of one's own: pauses each trial at its first report."""

    def __init__(self, spec: StudySpec) -> None:
        self._steps = {1} if spec.trials else set()

    def on_trial_result(self, trials: Trials, trial: Trial, result: Result) -> Decision:
        return Decision.PAUSE if result.step in self._steps else Decision.CONTINUE


def raising(spec: StudySpec) -> object:
    """A factory that fails."""
    raise RuntimeError(f"no searcher for {spec.metric}")
