"""One step by its hooks: what it is given, what it leaves. (`set_up_logging` needs a process.)"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from intendant.protocol.references import ReferencesTooLarge
from intendant.workloads.pipeline.inputs import InputMissing
from intendant.workloads.pipeline.step_executor import MAX_REPORTED_BYTES, StepExecutor, explained


def left(**fields: Any) -> dict[str, Any]:
    """What an earlier step has left."""
    nothing = {"id": "17/s", "is_good": True, "parameters": {}, "outputs": None}
    return {**nothing, "artifacts": {}, "models": {}, **fields}


def executor(folder: Path, given: dict[str, Any], **of_s: Any) -> StepExecutor:
    """A call of `dict`, whose parameters may refer to step `s`."""
    order = {
        "step": "t", "folder": str(folder), "cwd": str(folder), "parameters": given,
        "workload": {"kind": "call", "target": "builtins:dict"}, "artifacts": {}, "pickle": None,
        "pipeline": {}, "left": {"s": left(**of_s)}, "cache": False,
    }  # fmt: skip
    return StepExecutor(order)


def test_clearml_c8_a_parameter_is_what_it_was_in_the_step_that_ran_and_names_hold_dots(
    tmp_path: Path,
) -> None:
    texts = {"x": "${s.parameters.Args/x}", "y": "<${s.parameters.a.b}>"}
    step = executor(tmp_path, texts, parameters={"Args/x": [1, 2], "a.b": "dotted"})
    step.refresh_inputs()
    assert step.parameters == {"x": [1, 2], "y": "<dotted>"}


def test_clearml_c8_a_parameter_that_is_not_there_is_named_with_its_step(tmp_path: Path) -> None:
    step = executor(tmp_path, {"x": "${s.parameters.nothing}"}, parameters={"x": 1})
    with pytest.raises(InputMissing, match=r"\$\{s\.parameters\.nothing\}: .*'nothing'"):
        step.refresh_inputs()


def test_references_to_more_than_a_text_can_take_are_the_reason_and_no_fault_of_the_function(
    tmp_path: Path,
) -> None:
    step = executor(tmp_path, {"x": "${s.outputs} " * 70}, value=json.dumps("y" * 1_000_000))
    with pytest.raises(ReferencesTooLarge) as raised:
        step.refresh_inputs()
    assert explained(raised.value) == {
        "outcome": "failed",
        "reason": "reference: with its references a text has more than 67108864 characters",
    }


def test_lsst_l9_inputs_are_looked_up_just_before_the_step_runs(tmp_path: Path) -> None:
    outputs = tmp_path / "before.json"
    step = executor(tmp_path, {"x": "${s.outputs.x}"}, outputs=str(outputs))
    outputs.write_text(json.dumps({"x": "as of now"}))
    step.refresh_inputs()
    assert step.parameters == {"x": "as of now"}


def test_lsst_l10_much_that_a_step_returns_goes_through_its_folder_not_through_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # put back at the end, with what the step does to it
    for name in ("INTENDANT_STEP", "INTENDANT_STEP_DIR", "INTENDANT_OUTPUTS"):
        monkeypatch.setenv(name, "")
    step = executor(tmp_path, {"x": "y" * MAX_REPORTED_BYTES})
    step.refresh_inputs()
    report = step.save_outputs(step.run_step(step.make_step()))
    assert report == {"encoding": "json", "artifacts": {}, "models": {}}
    assert json.loads((tmp_path / "outputs.json").read_bytes()) == {"x": "y" * MAX_REPORTED_BYTES}


@pytest.mark.parametrize(
    ("length", "is_cached", "has_file"), [(3, False, False), (3, True, True), (2000, False, True)]
)
def test_what_a_step_returns_is_in_its_report_where_it_is_small_and_not_cached(
    tmp_path: Path, *, length: int, is_cached: bool, has_file: bool
) -> None:
    step = executor(tmp_path / "steps/t/1", {})
    step.order = {**step.order, "cwd": str(tmp_path), "cache": is_cached}
    report = step.save_outputs("x" * length)
    file = tmp_path / "steps/t/1/outputs.json"
    assert (file.exists(), report.get("outputs")) == (has_file, None if has_file else '"xxx"')
    value = {"outputs": str(file)} if has_file else {"value": report["outputs"]}
    after = executor(tmp_path, {"y": "${s.outputs}"}, **value)
    after.refresh_inputs()
    assert after.parameters == {"y": "x" * length}
