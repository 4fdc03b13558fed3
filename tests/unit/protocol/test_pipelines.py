"""Pipelines as data: what a step's spec keeps, what of it can be edited, statuses, units."""

from __future__ import annotations

from typing import Any

import pytest

from intendant.errors import SettingsError
from intendant.protocol.fields import HANDED_ON
from intendant.protocol.pipelines import (
    BaseSpec,
    ContinueOrder,
    PipelineSpec,
    StepSpec,
    continued,
)
from intendant.protocol.runfile import parse_run_file
from intendant.protocol.specs import RunSpec
from intendant.protocol.step_records import StepInfo
from intendant.protocol.step_states import StepEvent, StepOutcome, StepState, step_after

STEPS = [
    {"name": "a", "argv": ["true"], "parameters": {"x": 1}, "timeout": "1.5m"},
    {"name": "b", "argv": ["echo", "${a.parameters.x} ${pipeline.top}"]},
]
FILE = {"name": "p", "queue": "services", "timeout": 90, "parameters": {"top": 1}, "steps": STEPS}


def parsed(data: dict[str, Any] = FILE) -> tuple[RunSpec, PipelineSpec]:
    [spec] = parse_run_file(data, source="p.toml")
    assert isinstance(spec.workload, PipelineSpec)
    return spec, spec.workload


def test_clearml_c3_a_step_keeps_what_was_said_of_it_and_has_nothing_else() -> None:
    said = {
        "name": "a", "workload": {"kind": "run", "run": 17}, "queue": "gpu", "after": ["b"],
        "timeout_s": 60.0, "parameters": {"x": [1, {"y": None}]}, "execution": "runs",
    }  # fmt: skip
    step = StepSpec.model_validate(said)
    assert step.model_dump(mode="json", exclude_defaults=True) == said
    assert isinstance(step.workload, BaseSpec)
    bare = StepSpec.model_validate({"name": "a", "workload": said["workload"]})
    assert (bare.after, bare.parameters, bare.queue, bare.timeout_s) == ([], {}, None, None)
    begun = StepInfo(name="a", state=StepState.PENDING)
    assert (begun.outcome, begun.run_id, begun.attempt) == (None, None, 0)


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ({"name": "a"}, "steps[0].argv: found nothing, expected a command"),
        ({"name": "a", "base": 0}, "steps[0].base: "),
        ({"name": "a", "argv": []}, "steps[0].argv: "),
        ({"name": "a", "argv": ["true"], "queue": ""}, "steps[0].queue: "),
        ({"name": "a", "argv": ["${b.outputs}"]}, "step 'a': argv: ${b.outputs}: found 'b'"),
        ({"name": "a", "argv": ["${b}"]}, "step 'a': argv: ${b} is no reference"),
        (
            {"name": "a", "argv": ["b"], "parameters": {"x": 1, "y": "${parameters.x}"}},
            "step 'a': parameters: ${parameters.x}: found one of the parameters",
        ),
    ],
)
def test_clearml_c4_what_is_wrong_with_a_step_is_said_with_step_and_field(
    step: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_run_file({"steps": [step]}, source="p.toml")
    assert complaint in str(refused.value)


def test_clearml_c13_the_stored_pipeline_is_the_whole_of_it_and_what_is_edited_counts() -> None:
    spec, pipeline = parsed()
    again = RunSpec.model_validate_json(spec.model_dump_json(exclude_defaults=True))
    assert again == spec
    order = ContinueOrder(parameters={"top": 2}, step_parameters={"a": {"x": 5}})
    edited = continued(pipeline, 17, order)
    assert edited.parameters == {"top": 2}
    assert edited.steps[0].parameters == {"x": 5}
    assert edited.graph.parents["b"] == ("a",)


def test_what_is_handed_on_is_looked_at_as_a_whole_by_whoever_carries_it_out() -> None:
    step = {"name": "a", "workload": {"kind": "call", "target": "time:time"}, "after": ["b"]}
    data = {"kind": "pipeline", "steps": [step]}
    handed_on = PipelineSpec.model_validate(data, context=HANDED_ON)
    with pytest.raises(ValueError, match="found 'b'"):
        PipelineSpec.model_validate(handed_on.model_dump(mode="json"))


def test_clearml_c16_a_pipeline_goes_to_the_queue_that_it_names() -> None:
    assert parsed()[0].queue == "services"
    assert parsed({"steps": STEPS[:1]})[0].queue == "default"


def test_clearml_c24_limits_say_their_unit_and_are_seconds_without_one() -> None:
    spec, pipeline = parsed()
    assert (spec.timeout_s, pipeline.steps[0].timeout_s) == (90.0, 90.0)


def test_pyperunner_p6_every_status_of_a_step_has_a_place() -> None:
    running = step_after(StepState.PENDING, StepEvent.STARTED)
    statuses = {
        "NOT_STARTED": (StepState.PENDING, None),
        "RUNNING": (running, None),
        "SUCCESS": (StepState.ENDED, StepOutcome.SUCCEEDED),
        "FAILURE": (StepState.ENDED, StepOutcome.FAILED),
        "CANT_RUN": (StepState.ENDED, StepOutcome.NOT_RUN),
        "SKIPPED": (StepState.ENDED, StepOutcome.SKIPPED),
        "cached": (StepState.ENDED, StepOutcome.CACHED),
        "aborted": (StepState.ENDED, StepOutcome.ABORTED),
        "TIMED_OUT": (StepState.ENDED, StepOutcome.TIMED_OUT),
    }
    assert len(set(statuses.values())) == len(statuses)
    assert {state for state, _ in statuses.values()} == set(StepState)
    assert {outcome for _, outcome in statuses.values()} == {None, *StepOutcome}


def test_lsst_l11_steps_may_be_given_in_any_order() -> None:
    steps = [
        {"name": "last", "argv": ["echo", "${middle.id}"]},
        {"name": "middle", "argv": ["true"], "after": ["first"]},
        {"name": "first", "argv": ["true"]},
    ]
    _, pipeline = parsed({"steps": steps})
    assert pipeline.graph.order() == ["first", "middle", "last"]
