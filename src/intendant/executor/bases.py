"""What a submission takes from other runs: workloads of steps, and where it goes on from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from intendant.errors import InvalidRequest, RunNotFound, StoreError
from intendant.executor.access import Asker
from intendant.executor.desk import Desk
from intendant.executor.selecting import select_one
from intendant.protocol.pipelines import BaseSpec, PipelineSpec, StepSpec, based
from intendant.protocol.specs import Submission, Workload
from intendant.protocol.study import StudySpec
from intendant.store.spool import Spool
from intendant.store.steps import STEPS_FILE, read_step_page
from intendant.store.trials import TRIALS_FILE, read_study


async def with_bases(desk: Desk, submission: Submission, who: Asker) -> Submission:
    """The submission with every base looked up, among the runs that are `who`'s.

    `InvalidRequest` names the step whose base is not there or can't be one.
    """
    pipeline = submission.spec.workload
    if not isinstance(pipeline, PipelineSpec):
        return submission
    bases = [step for step in pipeline.steps if isinstance(step.workload, BaseSpec)]
    if not bases:
        return submission
    found = {step.name: await _with_base(desk, step, who) for step in bases}
    steps = [found.get(step.name, step) for step in pipeline.steps]
    workload = pipeline.model_copy(update={"steps": steps})
    spec = submission.spec.model_copy(update={"workload": workload})
    return submission.model_copy(update={"spec": spec})


async def require_origin(desk: Desk, submission: Submission, who: Asker) -> None:
    """`InvalidRequest` if it goes on from a run that is not `who`'s, or not there."""
    origin = await _origin(submission.spec.workload, desk.parts.spool.root)
    if origin is None:
        return
    try:
        await select_one(desk, [origin], who)
    except RunNotFound as error:
        raise InvalidRequest(f"it can't go on: {error}") from error


async def _origin(workload: Workload, spool: Path) -> str | None:
    """The run whose steps or trials are taken over."""
    if isinstance(workload, PipelineSpec) and workload.continues is not None:
        return str(workload.continues.run_id)
    if isinstance(workload, StudySpec) and workload.resume is not None:
        run_id, source = workload.resume.run_id, workload.resume.source
        if source is not None:
            return await asyncio.to_thread(_inside, spool, source, workload.cwd)
        return str(run_id)
    return None


def _inside(spool: Path, source: str, cwd: str | None) -> str | None:
    """The run in whose folder `source` is, a path or a URL; `None`: it is somewhere else."""
    scheme, separator, path = source.rpartition("::")[2].rpartition("://")
    if separator and scheme not in ("file", "local"):
        return None
    place = Path(cwd or "/") / os.path.expanduser(path)  # noqa: PTH111  this one never raises
    found = Path(os.path.realpath(place))
    if not found.is_relative_to(home := Path(os.path.realpath(spool))):
        return None
    run_id = next(iter(found.relative_to(home).parts), "")
    if not run_id.isdecimal():
        raise InvalidRequest(f"it can't go on from {source!r}: that is no run's folder")
    return run_id


async def _with_base(desk: Desk, step: StepSpec, who: Asker) -> StepSpec:
    assert isinstance(step.workload, BaseSpec)  # noqa: S101  the caller has looked
    try:
        run_id = await select_one(desk, [str(step.workload.run)], who)
        run = await desk.parts.store.run(run_id)
        return based(step, run.spec)
    except RunNotFound as error:
        raise InvalidRequest(f"step {step.name!r}: base: {error}") from error
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def without_state(spool: Spool, run_ids: Iterable[int]) -> set[int]:
    """Those that have left neither steps nor trials that another run could go on from."""
    return {run_id for run_id in run_ids if not _has_state(spool.run_folder(run_id))}


def _has_state(run_folder: Path) -> bool:
    try:
        has_steps = read_step_page(run_folder / STEPS_FILE, offset=0).total > 0
        return has_steps or read_study(run_folder / TRIALS_FILE) is not None
    except StoreError:
        return True  # it is damaged, as whoever wants to go on from it will say
