"""Studies of trivial trials, two at once: trials a second, the first trial, memory, and 10,000."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import measuring
from benchmarks.peers import python_with
from benchmarks.processes import cpu_ns, pss_mb
from benchmarks.row import Contest
from benchmarks.runs import daemon
from intendant import Client
from intendant.client.embedded import EmbeddedDaemon
from intendant.store.trials import TRIALS_FILE, read_trials

TUNE = "ray[train]==2.51.0"
ROOT = Path(__file__).parents[1]
TUNE_TRIALS = {"fresh": 10, "reused": 60}
"""It makes one in a second, or some dozens."""
RESTING_S = 1.0
MARKS = (500, 2000, 8000, 9500)
"""Trials, of 10,000: the cost of one is compared between the first two and the last two."""


def trials_per_s(count: int, *, reuse: bool) -> Callable[[Path], AbstractContextManager[Contest]]:
    """From the start of the first trial to the end of the last; Tune's beside it, over all."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with ExitStack() as stack:
            client = stack.enter_context(daemon(folder, slots=2))
            yield lambda: _rate(client, count, reuse=reuse), _tune(stack, reuse=reuse)

    return contest


def _tune(stack: ExitStack, *, reuse: bool) -> Callable[[], float] | None:
    python = python_with(TUNE)
    if python is None:
        return None
    how = "reused" if reuse else "fresh"
    program = Path(__file__).with_name("tune_peer.py")
    return stack.enter_context(measuring([python, str(program), how, str(TUNE_TRIALS[how])]))


@contextmanager
def first_trial(folder: Path) -> Iterator[Contest]:
    """From the submission until the objective of the first trial is called; ms."""

    def ours() -> float:
        began = time.time()
        run = client.submit(_study("timed", 1), name="first")
        run.wait()
        best: Any = client.result(run.id).value(may_unpickle=False)
        return 1000 * float(best["best"]["metrics"]["at"] - began)

    with daemon(folder, slots=2) as client:
        yield ours, None


@contextmanager
def study_memory(folder: Path) -> Iterator[Contest]:
    """Of the daemon, a study and its two trials, all processes together; MB."""
    with EmbeddedDaemon(folder / "state", slots=2) as embedded, embedded.client() as client:
        run = client.submit(_study("resting", 2), name="resting")
        while client.trials([run.id])["counts"].get("running") != 2:
            time.sleep(0.1)
        time.sleep(RESTING_S)

        def ours() -> float:
            head = psutil.Process(embedded.pid)
            return pss_mb([head.pid, *(child.pid for child in head.children(recursive=True))])

        yield ours, None
        run.cancel()


@contextmanager
def slowdown(folder: Path) -> Iterator[Contest]:
    """How much more of a CPU a trial costs the study after 8,000 of them than at first."""

    def ours() -> float:
        run = client.submit(_study("trivial", 10_000, reuse=True), name="study")
        first, early, late, last = [_cost(embedded.pid, client, run.id, at) for at in MARKS]
        run.wait()
        return _slope(late, last) / _slope(first, early)

    with EmbeddedDaemon(folder / "state", slots=2) as embedded, embedded.client() as client:
        yield ours, None


def _cost(daemon_pid: int, client: Client, run_id: int, count: int) -> tuple[int, int]:
    """Once there are so many trials: how many, and what the study has used of a CPU; ns."""
    while (total := client.trials([run_id], limit=1)["total"]) < count:
        time.sleep(0.02)
    below = psutil.Process(daemon_pid).children(recursive=True)
    return total, cpu_ns([each.pid for each in below if _is_study(each)])


def _is_study(process: psutil.Process) -> bool:
    return process.cmdline()[:1] != [] and process.cmdline()[0].startswith("intendant: study")


def _slope(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Of a CPU for a trial; ns."""
    return (other[1] - one[1]) / (other[0] - one[0])


def _rate(client: Client, count: int, *, reuse: bool) -> float:
    ends = _ends(client, count, reuse=reuse)
    return (count - 1) / (max(ends) - min(ends))


def _ends(client: Client, count: int, *, reuse: bool) -> list[float]:
    """When each trial ended; s."""
    run = client.submit(_study("trivial", count, reuse=reuse), name="study")
    run.wait()
    trials = read_trials(Path(client.trials([run.id], limit=1)["folder"]) / TRIALS_FILE)
    ends = [trial.finished_at.timestamp() for trial in trials if trial.finished_at is not None]
    assert len(ends) == count
    return ends


def _study(objective: str, trials: int, *, reuse: bool = False) -> dict[str, object]:
    workload = {
        "kind": "study",
        "target": f"benchmarks.studies_objectives:{objective}",
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "metric": "loss",
        "trials": trials,
        "at_once": 2,
        "available": {"cpu": 2},
        "reuse": reuse,
        "cwd": str(ROOT),
    }
    return {"workload": workload}
