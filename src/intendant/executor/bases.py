"""Steps that do what another run did: their workloads, put in place when a pipeline is queued."""

from __future__ import annotations

from intendant.errors import InvalidRequest, RunNotFound
from intendant.executor.access import Asker
from intendant.executor.desk import Desk
from intendant.executor.selecting import select_one
from intendant.protocol.pipelines import BaseSpec, PipelineSpec, StepSpec, based
from intendant.protocol.specs import Submission


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
