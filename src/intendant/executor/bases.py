"""What a submission takes from other runs: workloads of steps, and where it goes on from."""

from __future__ import annotations

from intendant.errors import InvalidRequest, RunNotFound
from intendant.executor.access import Asker
from intendant.executor.desk import Desk
from intendant.executor.selecting import select_one
from intendant.protocol.pipelines import BaseSpec, PipelineSpec, StepSpec, based
from intendant.protocol.specs import Submission, Workload
from intendant.protocol.study import StudySpec


async def with_bases(desk: Desk, submission: Submission, who: Asker) -> Submission:
    """The submission with every base looked up, among the runs that `who` may see.

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
    """`InvalidRequest` if it goes on from a run that `who` may not see, or that is not there."""
    run_id = _origin(submission.spec.workload)
    if run_id is None:
        return
    try:
        await select_one(desk, [str(run_id)], who)
    except RunNotFound as error:
        raise InvalidRequest(f"it can't go on: {error}") from error


def _origin(workload: Workload) -> int | None:
    """The run whose steps or trials are taken over."""
    if isinstance(workload, PipelineSpec) and workload.continues is not None:
        return workload.continues.run_id
    if isinstance(workload, StudySpec) and workload.resume is not None:
        return workload.resume.run_id
    return None


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
