"""`plan`: the steps of a file, parts of it, its graph in other forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.runfile import parse_run_file
from tests.helpers.shell import Shell

FILE = """
name = "census"

[[steps]]
name = "collect"
argv = ["true"]
[[steps]]
name = "parse"
argv = ["echo", "${collect.outputs}"]
cache = true
[[steps]]
name = "other"
argv = ["true"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "census.toml"
    path.write_text(FILE)
    return path


def test_l1_the_steps_are_listed_with_what_will_run_and_why(shell: Shell, file: Path) -> None:
    status, out, _ = shell("plan", str(file), "--state-dir", str(file.parent))
    assert status == 0
    assert out.splitlines() == [
        "3 steps, 3 of them will run",
        "* collect  runs: not cached",
        "* other  runs: not cached",
        "*   parse  runs: collect runs  (after collect)",
    ]


def test_l1_a_part_is_saved_as_a_file_that_says_the_same(shell: Shell, file: Path) -> None:
    part = file.with_name("part.json")
    assert shell("plan", str(file), "--only", "parse", "--save", str(part))[0] == 0
    [spec] = parse_run_file(json.loads(part.read_text()), source="part.json")
    assert isinstance(spec.workload, PipelineSpec)
    assert [step.name for step in spec.workload.steps] == ["collect", "parse"]
    assert spec.workload.steps[1].cache
    status, _, err = shell("plan", str(file), "--only", "pars")
    assert (status, "--only: found 'pars'" in err) == (2, True)


def test_l1_the_graph_is_written_as_dot_and_as_mermaid(shell: Shell, file: Path) -> None:
    assert '"collect" -> "parse";' in shell("plan", str(file), "--as", "dot")[1]
    assert "flowchart LR" in shell("plan", str(file), "--as", "mermaid")[1]


def test_p15_every_step_says_whether_it_runs_and_what_is_in_its_key(
    shell: Shell, file: Path
) -> None:
    said = ("plan", str(file), "--state-dir", str(file.parent))
    steps = {step["name"]: step for step in json.loads(shell(*said, "--json")[1])}
    assert steps["parse"]["inferred"] == ["collect"]
    assert all(step["runs"] for step in steps.values())
    assert f"parse  {steps['parse']['key']}" in shell(*said, "--keys")[1]


def test_what_is_no_pipeline_has_no_plan(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('argv = ["true"]')
    status, _, err = shell("plan", str(tmp_path / "run.toml"))
    assert (status, "found command, expected one pipeline" in err) == (2, True)
