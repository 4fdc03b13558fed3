"""Graphs as text, parts of them, and back into run files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from intendant.protocol.graph_text import depths, subset, to_dot, to_mermaid, to_text
from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.runfile import parse_run_file
from intendant.protocol.runfile_text import table_of
from intendant.protocol.step_keys import Decision

FILE: dict[str, Any] = {
    "name": "census",
    "timeout": "1h",
    "parameters": {"top": 3},
    "processes": 2,
    "cache_max_age": "2d",
    "umask": "022",
    "steps": [
        {"name": "collect", "call": "glob:glob", "args": ["*"], "cache": True, "timeout": "5m"},
        {
            "name": "parse",
            "argv": ["wc", "${collect.outputs.0}", "${pipeline.top}"],
            "retry": {"attempts": 2, "backoff": "1s"},
            "artifacts": {"table": "t.csv"},
        },
        {"name": "other", "argv": ["true"], "skip_children_on_fail": False},
        {"name": "report", "call": "math:sqrt", "after": ["parse"], "parameters": {"x": 4}},
    ],
}


def census() -> PipelineSpec:
    [spec] = parse_run_file(FILE, source="census.toml")
    assert isinstance(spec.workload, PipelineSpec)
    return spec.workload


def test_l2_a_graph_that_was_saved_is_the_same_when_it_is_loaded() -> None:
    [spec] = parse_run_file(FILE, source="census.toml")
    saved = json.loads(json.dumps(table_of(spec)))
    assert parse_run_file(saved, source="saved.json") == [spec]


def test_functions_without_a_name_can_not_be_saved() -> None:
    [spec] = parse_run_file(FILE, source="census.toml")
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    fields["workload"]["pickle_sha256"] = "0" * 64
    fields["workload"]["steps"][0]["workload"] = {"kind": "call", "pickle_sha256": "0" * 64}
    with pytest.raises(ValueError, match="'collect' is a pickled function"):
        table_of(type(spec).model_validate(fields))


def test_a_subset_holds_what_its_steps_come_after() -> None:
    assert [step.name for step in subset(census(), ["parse"]).steps] == ["collect", "parse"]
    assert [step.name for step in subset(census(), ["other"]).steps] == ["other"]
    with pytest.raises(ValueError, match="found 'pars'"):
        subset(census(), ["pars"])


def test_l1_dot_has_every_step_and_every_edge() -> None:
    text = to_dot(census(), {"parse": "failed"})
    assert '"collect" -> "parse";' in text
    assert '"parse" -> "report";' in text
    assert '"parse" [fillcolor="#c0392b"];' in text
    assert '"other" [fillcolor="#ffffff"];' in text


def test_mermaid_has_every_step_and_every_edge() -> None:
    text = to_mermaid(census(), {"other": "succeeded"})
    assert text.splitlines()[:2] == ["flowchart LR", '    s0["collect"]']
    assert "    s0 --> s1" in text
    assert "    style s2 fill:#4169e1" in text


def test_p15_the_plan_marks_what_will_run_and_says_why() -> None:
    names = [step.name for step in census().steps]
    decisions = {name: Decision(runs=name != "collect", reason="because") for name in names}
    assert to_text(census(), decisions).splitlines() == [
        "4 steps, 3 of them will run",
        "  collect  does not run: because",
        "* other  runs: because",
        "*   parse  runs: because  (after collect)",
        "*     report  runs: because  (after parse)",
    ]


def test_a_step_is_as_deep_as_the_longest_way_to_it() -> None:
    assert depths(census().graph) == {"collect": 0, "other": 0, "parse": 1, "report": 2}
