"""Between the loop and the database: what is written, and how a study goes on from it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from intendant.protocol.study import StudySpec
from intendant.protocol.trial_states import FINISHED, TrialOutcome, TrialState
from intendant.store.trials import (
    CheckpointRow,
    ResultRow,
    TrialChanges,
    TrialRow,
    TrialStore,
)
from intendant.workloads.study.actions import Action, Changes, Drop
from intendant.workloads.study.hooks import History, Hooks, Searcher, TrialScheduler
from intendant.workloads.study.loop import StudyLoop
from intendant.workloads.study.tally import Best, Tally, counts
from intendant.workloads.study.trials import Checkpoint, Metric, Result, Trial

log = structlog.get_logger()

LEFT_OUT = "left out: the study was to go on without it"
"""The reason of an unfinished trial that whoever resumes the study does not want."""


def write(
    store: TrialStore,
    loop: StudyLoop,
    changes: Changes,
    actions: Iterable[Action],
    orders: Sequence[tuple[str, int | None]] = (),
) -> None:
    """Put what has changed on disk, in one transaction; `orders` are those that led to it."""
    dropped = [action.checkpoint.path for action in actions if isinstance(action, Drop)]
    if not (changes or dropped or orders):
        return
    metric = loop.spec.metric
    study: dict[str, str | int | float | bytes | None] = {
        "proposed": loop.proposed,
        "elapsed_s": loop.elapsed_s,
    }
    if changes.has_searched:
        study |= _saved("searcher", loop.searcher)
    if changes.has_scheduled:
        study |= _saved("scheduler", loop.scheduler)
    changed = TrialChanges(
        trials=[_row(trial, metric) for trial in changes.trials.values()],
        results=[_result_row(number, result, metric) for number, result in changes.results],
        rewound=changes.rewound,
        checkpoints=[
            (checkpoint.path, number, checkpoint.result.seq) for number, checkpoint in changes.saved
        ],
        dropped=dropped,
        orders=orders,
        study=study,
    )
    Hooks(time.monotonic).call(store.write, changed)  # warned of by name where it takes long


def _saved(name: str, hook: Searcher | TrialScheduler) -> dict[str, bytes]:
    """What it wants to be kept; if it can't say, what is kept already stays."""
    state = Hooks(time.monotonic).call_quietly(hook.save)
    if state is not None and not isinstance(state, bytes):
        log.warning("hook_failed", hook=name, error=f"save gave a {type(state).__name__}")
        return {}
    return {} if state is None else {name: state}


def _row(trial: Trial, metric: str) -> TrialRow:
    return TrialRow(
        number=trial.number,
        state=trial.state,
        outcome=trial.outcome,
        reason=None if trial.reason is None else _legible(trial.reason),
        params=trial.params,
        failures=trial.failures,
        starts=trial.starts,
        running_s=trial.running_s,
        value=None if trial.last is None else _plain(trial.last.number(metric)),
        step=None if trial.last is None else trial.last.step,
        results=trial.results,
        checkpoint=None if trial.checkpoint is None else trial.checkpoint.path,
        notes=trial.notes,
    )


def _legible(text: str) -> str:
    """What somebody's own code has said, as text that can be written down."""
    return text.encode(errors="backslashreplace").decode()


def _result_row(number: int, result: Result, metric: str) -> ResultRow:
    value = _plain(result.number(metric))
    return ResultRow(number, result.seq, result.step, result.running_s, value, result.metrics)


def _plain(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# --- going on ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """Which trials of earlier go on, and which begin again."""

    finished: str = "skip"
    unfinished: str = "resume"
    errored: str = "skip"

    def of(self, row: TrialRow) -> str:
        """`skip`, `resume` or `restart`."""
        if row.state is not TrialState.ENDED or row.outcome is TrialOutcome.CANCELLED:
            return self.unfinished
        return self.finished if row.outcome in FINISHED else self.errored


AS_WITHIN_A_RUN = Policy()
"""What an attempt does with the trials of the one before."""


def settle(store: TrialStore, policy: Policy) -> None:
    """Write down which trials of another study go on, and which begin again.

    From then on that is what stands in the database, however often the study is taken up.
    """
    store.settle(
        [
            _settled(row, how)
            for row in list(store.trials())
            if (how := policy.of(row)) != AS_WITHIN_A_RUN.of(row)
        ]
    )


def _settled(row: TrialRow, how: str) -> TrialRow:
    if how == "skip":
        outcome = TrialOutcome.STOPPED
        return replace(row, state=TrialState.ENDED, outcome=outcome, reason=LEFT_OUT)
    checkpoint = row.checkpoint if how == "resume" else None
    return replace(row, state=TrialState.PENDING, outcome=None, reason=None, checkpoint=checkpoint)


class Past:
    """What a study's database says of its trials, for a study that goes on."""

    def __init__(self, store: TrialStore, spec: StudySpec, policy: Policy) -> None:
        self._store = store
        self._spec = spec
        self._policy = policy

    def histories(self) -> Iterator[History]:
        """All trials, one at a time, as searcher and scheduler want to know them."""
        for row in self._store.trials():
            lives = self._policy.of(row) != "skip"
            yield History(
                row.number,
                row.params,
                None if lives else row.outcome,
                row.value,
                self._store.values_of(row.number),
                dict(row.notes),
                self._further(row.number),
            )

    def _further(self, number: int) -> tuple[float, ...] | None:
        """What a trial's last result says of the further metrics, if all are numbers."""
        last = self._store.last_result(number) if self._spec.further_metrics else None
        return () if last is None else _result(last).numbers(self._spec.further_metrics)

    def tally(self) -> Tally:
        """How many have ended, the best, and the next number."""
        tally = Tally(self._spec.goals)
        for row in self._store.trials():
            tally.next_number = row.number + 1
            if self._policy.of(row) == "skip" and row.outcome is not None:
                tally.outcomes[row.outcome] += 1
                self._consider(tally, row, row.outcome)
        return tally

    def unfinished(self) -> list[Trial]:
        """Those that are to go on, the one that was changed last first (T21)."""
        rows = [row for row in self._store.newest_first() if self._policy.of(row) != "skip"]
        return [self._revived(row, self._policy.of(row)) for row in rows]

    def _consider(self, tally: Tally, row: TrialRow, outcome: TrialOutcome) -> None:
        last = self._store.last_result(row.number)
        result = None if last is None else _result(last)
        values = None if result is None else result.numbers(self._spec.goals)
        if result is None or values is None or not counts(outcome):
            return
        kept = self._store.checkpoints(row.number)
        tally.consider(
            Best(
                row.number,
                row.params,
                values,
                result,
                kept[-1].path if kept else None,
                outcome is TrialOutcome.COMPLETED,
            )
        )

    def _revived(self, row: TrialRow, how: str) -> Trial:
        """A trial that waits for its next start."""
        trial = Trial(
            row.number,
            row.params,
            failures=row.failures,
            starts=row.starts,
            running_s=row.running_s,
            notes=row.notes,
        )
        last = self._store.last_result(row.number)
        trial.last = None if last is None else _result(last)
        kept = [each for each in self._store.checkpoints(row.number) if self._is_there(each.path)]
        trial.checkpoints = [_checkpoint(each) for each in kept]
        found = None
        if how == "resume" and row.checkpoint is not None and self._is_there(row.checkpoint):
            found = self._store.checkpoint(row.checkpoint)
        trial.checkpoint = None if found is None else _checkpoint(found[1])
        if found is not None and found[0] != row.number and trial.last is not None:
            origin = _result(found[1].result)  # another's: its steps count on from there
            trial.last = Result(trial.last.seq, origin.step, origin.metrics, trial.running_s)
        return trial

    def _is_there(self, checkpoint: str) -> bool:
        """A power cut may have taken away that a checkpoint was dropped, or the checkpoint."""
        return (self._store.path.parent / checkpoint).is_dir()


def _result(row: ResultRow) -> Result:
    metrics: dict[str, Metric] = {
        name: value
        for name, value in row.metrics.items()
        if value is None or isinstance(value, str | int | float | bool)
    }
    return Result(row.seq, row.step, metrics, row.running_s)


def _checkpoint(row: CheckpointRow) -> Checkpoint:
    return Checkpoint(row.path, _result(row.result))


def found_as_json(tally: Tally, run_folder: Path) -> dict[str, object]:
    """The best trial as the result of the run says it; with several metrics the Pareto front."""
    best = None if tally.best is None else _as_json(tally.best, run_folder)
    if not tally.has_front:
        return {"best": best}
    return {"best": None, "front": [_as_json(each, run_folder) for each in tally.front]}


def _as_json(best: Best, run_folder: Path) -> dict[str, object]:
    found = {
        "trial": best.number,
        "params": best.params,
        "value": best.values[0],
        "step": best.result.step,
        "metrics": dict(best.result.metrics),
        "checkpoint": None if best.checkpoint is None else str(run_folder / best.checkpoint),
    }
    left_out = {"metrics_left_out": best.left_out, "params_left_out": best.params_left_out}
    return found | {name: count for name, count in left_out.items() if count}
