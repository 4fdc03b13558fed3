"""Random pipelines, and how each must end: written for clarity, not for speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_states import StepOutcome as Out

FLAGS = ("continue_on_fail", "continue_on_abort", "skip_children_on_fail", "skip_children_on_abort")
RAN = (Out.SUCCEEDED, Out.FAILED, Out.TIMED_OUT, Out.ABORTED, Out.SKIPPED)


@st.composite
def graphs(draw: st.DrawFn, max_steps: int = 30) -> list[dict[str, Any]]:
    """Steps, each after some of those before it; the order in which they are listed is random."""
    count = draw(st.integers(1, max_steps))
    steps = []
    for number in range(count):
        before = st.integers(0, max(number - 1, 0))
        parents = draw(st.sets(before, max_size=min(number, 4))) if number else set()
        flags = {flag: draw(st.booleans()) for flag in FLAGS if draw(st.integers(0, 3)) == 0}
        steps.append(
            {
                "name": f"s{number}",
                "after": [f"s{parent}" for parent in sorted(parents)],
                "priority": draw(st.integers(-2, 2)),
                "workload": {"kind": "command", "argv": ["do"]},
                **flags,
            }
        )
    return draw(st.permutations(steps))


def pipeline(steps: list[dict[str, Any]], **fields: object) -> PipelineSpec:
    return PipelineSpec.model_validate({"kind": "pipeline", "steps": steps, **fields})


def simulate(spec: PipelineSpec, fates: Mapping[str, Out]) -> dict[str, Out]:
    """How every step ends if each that runs ends as `fates` says: straight from the rules."""
    ends: dict[str, Out] = {}
    by_name = {step.name: step for step in spec.steps}
    for name in spec.graph.order():
        effects = [_effect(by_name[parent], ends[parent]) for parent in spec.graph.parents[name]]
        if "prevents" in effects:
            ends[name] = Out.NOT_RUN
        elif "skips" in effects:
            ends[name] = Out.SKIPPED
        else:
            ends[name] = fates[name]
    return ends


def _effect(step: Any, end: Out) -> str:
    if end in (Out.SUCCEEDED, Out.CACHED):
        return "lets"
    if end is Out.SKIPPED:
        return "skips"
    if end in (Out.FAILED, Out.TIMED_OUT):
        return "prevents" if step.skip_children_on_fail else "lets"
    if end is Out.ABORTED:
        return "prevents" if step.skip_children_on_abort else "lets"
    return "prevents"


def is_failed(spec: PipelineSpec, ends: Mapping[str, Out]) -> bool:
    """Whether the pipeline as a whole has failed."""
    return any(
        (ends[step.name] in (Out.FAILED, Out.TIMED_OUT) and not step.continue_on_fail)
        or (ends[step.name] is Out.ABORTED and not step.continue_on_abort)
        for step in spec.steps
    )
