"""Which steps stay done when a pipeline goes on."""

from __future__ import annotations

from typing import Any

import pytest

from intendant.protocol.pipelines import (
    Continuation,
    ContinueOrder,
    PipelineSpec,
    based,
    continued,
)
from intendant.protocol.specs import RunSpec
from intendant.protocol.step_keys import fingerprints
from intendant.protocol.step_records import StepInfo
from intendant.protocol.step_states import StepOutcome as Out
from intendant.protocol.step_states import StepState
from intendant.protocol.workloads import CommandSpec
from intendant.workloads.pipeline.continuing import kept_steps


def pipeline(**argv: str) -> PipelineSpec:
    """Steps whose argument is a text with references."""
    return PipelineSpec.model_validate(
        {
            "kind": "pipeline",
            "parameters": {"top": 1, "low": 2},
            "steps": [
                {
                    "name": name,
                    "workload": {"kind": "command", "argv": ["do", text]},
                    "parameters": {"x": 0, "y": 0},
                }
                for name, text in argv.items()
            ],
        }
    )


SPEC = pipeline(a="x", b="${a.id}", c="${b.id} ${pipeline.top}", d="y", e="${d.id}")


def kept(spec: PipelineSpec = SPEC, *, again: tuple[str, ...] = (), **outcomes: Out) -> set[str]:
    """What stays done of a pipeline that has ended, in which all others succeeded."""
    before = {
        name: StepInfo(
            name=name,
            state=StepState.ENDED,
            outcome=outcomes.get(name, Out.SUCCEEDED),
            fingerprint="" if name in again else fingerprint,
        )
        for name, fingerprint in fingerprints(SPEC).items()
    }
    return kept_steps(spec, before, fingerprints(spec))


def test_c15_what_succeeded_is_kept_and_what_did_not_runs_again() -> None:
    assert kept() == {"a", "b", "c", "d", "e"}
    assert kept(d=Out.FAILED, e=Out.NOT_RUN, a=Out.CACHED) == {"a", "b", "c"}
    assert kept(c=Out.SKIPPED, e=Out.ABORTED) == {"a", "b", "d"}


def test_what_comes_after_a_step_that_runs_again_runs_again_too() -> None:
    assert kept(a=Out.FAILED) == {"d", "e"}  # b may have run although a had failed
    assert kept(again=("b",)) == {"a", "d", "e"}


def test_a_step_that_is_asked_for_something_else_runs_again() -> None:
    changed = continued(SPEC, 17, ContinueOrder(parameters={"top": 5}))
    assert kept(changed) == {"a", "b", "d", "e"}
    changed = continued(SPEC, 17, ContinueOrder(step_parameters={"d": {"x": 1}}))
    assert kept(changed) == {"a", "b", "c"}


def test_a_new_step_is_to_run() -> None:
    text: dict[str, Any] = {"a": "x", "f": "${a.id}"}
    assert kept(pipeline(**text)) == {"a"}


def test_a_pipeline_goes_on_only_with_steps_that_it_has() -> None:
    with pytest.raises(ValueError, match="run 17: found 'z', expected the name of a step"):
        continued(SPEC, 17, ContinueOrder(rerun=["z"]))


def test_a_parameter_that_the_pipeline_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"run 17: parameters: found 'bottom', expected .*top"):
        continued(SPEC, 17, ContinueOrder(parameters={"bottom": 5}))
    made_of_own = ContinueOrder(step_parameters={"d": {"x": 1, "y": "${parameters.x}"}})
    with pytest.raises(ValueError, match="found one of the parameters"):
        continued(SPEC, 17, made_of_own)


def test_a_parameter_that_a_command_has_not_is_refused_while_a_function_may_take_it() -> None:
    order = ContinueOrder(step_parameters={"d": {"z": 1}})
    with pytest.raises(ValueError, match=r"step 'd': parameters: found 'z', expected x, y"):
        continued(SPEC, 17, order)
    call = {"name": "d", "workload": {"kind": "call", "target": "lab:fit"}}
    calls = PipelineSpec.model_validate({"kind": "pipeline", "steps": [call]})
    assert continued(calls, 17, order).steps[0].parameters == {"z": 1}


def test_a_changed_parameter_of_a_step_that_does_what_a_command_did_is_in_its_environment() -> None:
    base = RunSpec.model_validate(
        {"workload": {"kind": "command", "argv": ["do"], "env": {"LR": "9", "HOME": "/"}}}
    )
    step = based(SPEC.steps[3].model_copy(update={"parameters": {"LR": 0.1}}), base)
    order = ContinueOrder(step_parameters={"d": {"LR": 0.2}})
    again = continued(SPEC.model_copy(update={"steps": [step]}), 17, order)
    assert isinstance(again.steps[0].workload, CommandSpec)
    assert again.steps[0].workload.env == {"LR": "0.2", "HOME": "/"}


def test_of_a_run_that_has_done_nothing_what_it_was_to_go_on_from_counts() -> None:
    again = continued(SPEC, 17, ContinueOrder(rerun=["a", "b"]))
    after = continued(again, 18, ContinueOrder(rerun=["b", "c"]), has_done=False)
    assert after.continues == Continuation(run_id=17, rerun=["a", "b", "c"])
    assert continued(SPEC, 17, ContinueOrder(), has_done=False).continues is None
