"""How many steps run at once, and where what they leave is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import StepOutcome
from intendant.workloads.pipeline.cache import Cache
from intendant.workloads.pipeline.caching import cache_folder
from intendant.workloads.pipeline.conduct import room_for
from intendant.workloads.pipeline.orders import attempt_folder, left_by


def pipeline(**fields: object) -> PipelineSpec:
    step = {"name": "a", "workload": {"kind": "command", "argv": ["true"]}}
    return PipelineSpec.model_validate({"kind": "pipeline", "steps": [step], **fields})


@pytest.mark.parametrize(("said", "at_once"), [(None, os.cpu_count()), (1, 1), (7, 7)])
def test_pyperunner_p2_without_a_limit_there_is_a_process_for_each_cpu(
    said: int | None, at_once: int
) -> None:
    assert room_for(pipeline(processes=said))["processes"] == at_once


def test_pyperunner_p2_folders_are_made_when_they_are_needed_and_said_in_full(
    tmp_path: Path,
) -> None:
    folder = cache_folder(pipeline(cache_dir="kept/here"), tmp_path / "state", tmp_path)
    assert (folder, folder.is_absolute()) == (tmp_path / "kept" / "here", True)
    step = tmp_path / "17" / attempt_folder("a", 1)
    step.mkdir(parents=True)
    (step / "outputs.json").write_text("1")
    report = StepReport(outcome=StepOutcome.SUCCEEDED, encoding="json")
    Cache(folder).keep("key", "a", step, report)
    assert Cache(folder).find("key").report == report
    left = left_by(
        tmp_path / "17", "a", outcome=report.outcome, folder=attempt_folder("a", 1), report=report
    )
    assert left["outputs"] == str(step / "outputs.json")
