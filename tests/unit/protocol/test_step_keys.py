"""What tells steps from one another, and what becomes of each: it runs, or is cached."""

from __future__ import annotations

from typing import Any

from intendant.protocol.pipelines import PipelineSpec, StepSpec
from intendant.protocol.step_keys import Decision, decide, fingerprints, step_keys


def a_pipeline(changes: dict[str, dict[str, Any]] | None = None, **fields: Any) -> PipelineSpec:
    """a → b → c, and d beside them; all are cached."""
    after = {"a": [], "b": ["a"], "c": ["b"], "d": []}
    steps = [
        {
            "name": name,
            "workload": {"kind": "command", "argv": ["do", name, "${pipeline.x}"]},
            "after": parents,
            "cache": True,
            **(changes or {}).get(name, {}),
        }
        for name, parents in after.items()
    ]
    whole = {"kind": "pipeline", "steps": steps, "parameters": {"x": 1, "y": 2}, **fields}
    return PipelineSpec.model_validate(whole)


def no_code(step: StepSpec) -> dict[str, str]:  # noqa: ARG001  a code_of
    return {}


def keys(pipeline: PipelineSpec) -> dict[str, str]:
    return {name: key.key for name, key in step_keys(pipeline, no_code).items()}


def changed(pipeline: PipelineSpec) -> set[str]:
    """The steps whose keys differ from those of the plain pipeline."""
    before, now = keys(a_pipeline()), keys(pipeline)
    return {name for name in before if before[name] != now[name]}


def runs(decisions: dict[str, Decision]) -> set[str]:
    return {name for name, decision in decisions.items() if decision.runs}


def hit(step: str) -> None:
    """Everything is there."""


def test_p11_a_key_holds_what_is_asked_and_the_keys_of_all_ancestors() -> None:
    other = {"workload": {"kind": "command", "argv": ["do", "otherwise"]}}
    assert changed(a_pipeline()) == set()
    assert changed(a_pipeline({"a": other})) == {"a", "b", "c"}
    assert changed(a_pipeline({"c": other})) == {"c"}
    assert changed(a_pipeline({"b": {"parameters": {"p": 1}}})) == {"b", "c"}
    assert changed(a_pipeline(env={"A": "1"})) == {"a", "b", "c", "d"}


def test_a_key_holds_the_pipelines_parameters_that_are_referred_to_and_no_others() -> None:
    assert changed(a_pipeline(parameters={"x": 1, "y": 3})) == set()
    assert changed(a_pipeline(parameters={"x": 5, "y": 2})) == {"a", "b", "c", "d"}


def test_how_a_step_is_carried_out_is_not_in_its_key() -> None:
    how = {"priority": 5, "execution": "inline", "retry": {"attempts": 3}, "reload": True}
    assert changed(a_pipeline({"a": how})) == set()


def test_the_code_of_a_step_is_in_its_key() -> None:
    plain = step_keys(a_pipeline(), no_code)
    other = step_keys(a_pipeline(), lambda step: {"f.py": "1"} if step.name == "b" else {})
    assert {name for name in plain if plain[name].key != other[name].key} == {"b", "c"}
    assert other["b"].code == {"f.py": "1"}
    assert other["c"].parents == {"b": other["b"].key}


def test_to_cache_a_step_or_to_reload_it_does_not_make_it_another_step() -> None:
    again = a_pipeline({"a": {"reload": True, "cache": False}})
    assert fingerprints(again) == fingerprints(a_pipeline())


def test_p10_what_is_there_does_not_run() -> None:
    assert runs(decide(a_pipeline(), hit)) == set()


def test_p11_reload_and_a_missing_result_make_all_successors_run() -> None:
    assert runs(decide(a_pipeline({"b": {"reload": True}}), hit)) == {"b", "c"}
    missing = decide(a_pipeline(), lambda step: "no cached result" if step == "a" else None)
    assert runs(missing) == {"a", "b", "c"}
    assert missing["b"].reason == "a runs"


def test_p11_force_makes_everything_run() -> None:
    assert runs(decide(a_pipeline(force=True), hit)) == {"a", "b", "c", "d"}


def test_a_step_that_is_not_cached_runs_and_so_do_those_after_it() -> None:
    decisions = decide(a_pipeline({"b": {"cache": False}}), hit)
    assert runs(decisions) == {"b", "c"}
    assert decisions["b"].reason == "not cached"


def test_what_was_done_before_is_kept_even_where_nothing_is_cached() -> None:
    uncached = a_pipeline({name: {"cache": False} for name in "abcd"})
    assert runs(decide(uncached, hit, kept={"a", "b"})) == {"c", "d"}
