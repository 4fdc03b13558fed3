"""Going on where a pipeline stopped: what is done stays done, the rest is to run.

Within one run the database of an earlier attempt is simply there. A run that continues another
begins with a copy of that one's database, and with links to what its steps left, so that it does
not depend on the other any more. The copy takes its name when it is whole and says which steps are
asked for again. Whatever is killed in between, a step that is to run is never found to be done.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from intendant.protocol.pipelines import Continuation, PipelineSpec, StepSpec
from intendant.protocol.step_keys import fingerprints
from intendant.protocol.step_records import StepInfo
from intendant.protocol.step_states import GOOD, LEFT_BEHIND, StepState
from intendant.store.steps import (
    STEPS_FILE,
    STEPS_FOLDER,
    StepStore,
    copy_steps,
    read_steps,
    reset,
)
from intendant.workloads.calling import Refusal
from intendant.workloads.linking import link_tree
from intendant.workloads.results import reason


def open_store(pipeline: PipelineSpec, run_folder: Path) -> StepStore:
    """The database of the run's steps, ready: those that are done as such, all others pending."""
    path = run_folder / STEPS_FILE
    if pipeline.continues is not None and not path.exists():
        _take_over(pipeline.continues, run_folder)
    store = StepStore(path)
    before = {info.name: info for info in store.steps()}
    now = fingerprints(pipeline)
    kept = kept_steps(pipeline, before, now)
    at = datetime.now(UTC)
    store.write(
        [
            reset(step.name, at=at, attempt=_attempts(pipeline, step, before[step.name]))
            for step in pipeline.steps
            if step.name in before and step.name not in kept and _is_touched(before[step.name])
        ]
    )
    store.lay_out(now)  # by what was asked for then it is seen which steps run again: so last
    return store


def _attempts(pipeline: PipelineSpec, step: StepSpec, info: StepInfo) -> int:
    """How many attempts count. A run that was under way is found again by the same number."""
    is_run = pipeline.execution_of(step) == "runs"
    is_under_way = info.state is StepState.RUNNING or info.reason == LEFT_BEHIND
    return info.attempt - 1 if is_run and is_under_way else info.attempt


def kept_steps(
    pipeline: PipelineSpec, before: Mapping[str, StepInfo], fingerprints: Mapping[str, str]
) -> set[str]:
    """The steps that stay done: they ended well, are asked for the same as then, and nothing that
    they come after runs again.
    """
    kept: set[str] = set()
    if not before:
        return kept
    for name in pipeline.graph.order():
        info = before.get(name)
        is_done = info is not None and info.outcome in GOOD
        is_same = info is not None and info.fingerprint == fingerprints[name]
        if is_done and is_same and kept.issuperset(pipeline.graph.parents[name]):
            kept.add(name)
    return kept


def _is_touched(info: StepInfo) -> bool:
    return info.state is not StepState.PENDING or info.outcome is not None


def _take_over(continuation: Continuation, run_folder: Path) -> None:
    """Begin with what the other run has done; `Refusal` if nothing is there any more."""
    old_folder = run_folder.parent / str(continuation.run_id)
    source = old_folder / STEPS_FILE
    if not (done := read_steps(source)):
        raise Refusal(reason("continue", f"run {continuation.run_id} has left no state"))
    if (left := run_folder / STEPS_FOLDER).exists():
        shutil.rmtree(left)  # by a try that was cut short: a file there may be half a copy
    for info in done:
        if info.outcome in GOOD and info.folder is not None:
            link_tree(old_folder / info.folder, run_folder / info.folder)
    copy = run_folder / f".{STEPS_FILE}.new"
    copy.unlink(missing_ok=True)
    copy_steps(
        source, copy, old_folder=str(old_folder), new_folder=str(run_folder),
        rerun=continuation.rerun,
    )  # fmt: skip
    copy.rename(run_folder / STEPS_FILE)
