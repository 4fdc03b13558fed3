"""What a step is told: everything that it needs, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from intendant.protocol.pipelines import PipelineSpec, StepSpec
from intendant.protocol.references import references_in
from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import GOOD, StepOutcome
from intendant.store.steps import STEPS_FOLDER


def attempt_folder(step: str, attempt: int) -> str:
    """Where an attempt at a step leaves its files, below the run's folder."""
    return f"{STEPS_FOLDER}/{step}/{attempt}"


def left_by(
    run_folder: Path,
    step: str,
    *,
    outcome: StepOutcome | None,
    folder: str | None,
    report: StepReport | None,
) -> dict[str, Any]:
    """What a step that has ended left, as `inputs.Inputs` looks it up."""
    report = report or StepReport(outcome=StepOutcome.FAILED)
    outputs = None
    if report.encoding is not None and report.outputs is None and folder is not None:
        outputs = str(run_folder / folder / f"outputs.{report.encoding}")
    return {
        "id": f"{run_folder.name}/{step}",
        "is_good": outcome in GOOD,
        "parameters": report.parameters,
        "outputs": outputs,
        "value": report.outputs,
        "artifacts": {
            name: artifact.model_dump(mode="json") for name, artifact in report.artifacts.items()
        },
        "models": report.models.model_dump(mode="json", exclude_none=True),
    }


def make_order(
    pipeline: PipelineSpec,
    step: StepSpec,
    *,
    label: str,
    folder: str,
    cwd: Path,
    left: Mapping[str, Callable[[], dict[str, Any]]],
    pickle: str | None,
) -> dict[str, Any]:
    """One attempt at a step; of what others left only that which it refers to."""
    meant = {
        reference.step
        for _, value in step.texts()
        for reference in references_in(value)
        if reference.is_of_step
    }
    return {
        "label": label,
        "step": step.name,
        "folder": folder,
        "cwd": str(cwd),
        "workload": {name: getattr(step.workload, name) for name in step.workload.model_fields_set},
        "parameters": step.parameters,
        "artifacts": step.artifacts,
        "pipeline": pipeline.parameters,
        "left": {name: left[name]() for name in meant},
        "executor": pipeline.step_executor,
        "pickle": pickle,
        "cache": step.cache,
    }
