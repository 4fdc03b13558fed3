"""The graph of steps: what is refused before anything starts, and who comes after whom."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from intendant.protocol.fields import NEW
from intendant.protocol.pipelines import PipelineSpec, StepSpec, based
from intendant.protocol.specs import RunSpec


def pipeline(*steps: dict[str, object], **fields: object) -> PipelineSpec:
    return PipelineSpec.model_validate({"kind": "pipeline", "steps": steps, **fields})


def step(name: str, *argv: str, **fields: object) -> dict[str, object]:
    return {"name": name, "workload": {"kind": "command", "argv": ["do", *argv]}, **fields}


def refusal(*steps: dict[str, object], **fields: object) -> str:
    with pytest.raises(ValidationError) as refused:
        PipelineSpec.model_validate({"kind": "pipeline", "steps": steps, **fields}, context=NEW)
    return str(refused.value.errors()[0]["msg"])


def test_c1_two_steps_of_one_name_are_refused_with_the_name() -> None:
    assert "step 'a': name: found 2 steps" in refusal(step("a"), step("a"))


def test_c5_a_parent_that_is_no_step_is_refused_with_step_field_and_a_hint() -> None:
    assert refusal(step("load"), step("b", after=["laod"])) == (
        "Value error, step 'b': after: found 'laod', expected 'load' perhaps"
    )


def test_c5_a_circle_is_refused_with_its_steps() -> None:
    text = refusal(
        step("a", after=["c"]), step("b", after=["a"]), step("c", after=["b"]), step("d")
    )
    assert "in a circle" in text
    assert {" → " in text, "d" in text.split(": ")[-1]} == {True, False}


def test_a_step_that_comes_after_itself_is_refused() -> None:
    assert "step 'a': after: found itself" in refusal(step("a", after=["a"]))
    assert "step 'a': argv: ${a.id}: found the step itself" in refusal(step("a", "${a.id}"))


def test_c6_a_parameter_that_is_made_of_its_steps_own_parameters_is_refused() -> None:
    own = {"x": "<${parameters.x}>", "y": ["${parameters.z}"], "z": 1}
    text = refusal(step("a", parameters=own))
    assert "step 'a': parameters: ${parameters.x}: found one of the parameters" in text
    assert "${parameters.z}" in text


def test_c6_such_a_parameter_in_a_run_that_an_earlier_version_took_is_read() -> None:
    stored = pipeline(step("a", parameters={"x": 1, "y": "${parameters.x}-2"}))
    assert PipelineSpec.model_validate_json(stored.model_dump_json()).graph.order() == ["a"]


def test_c6_a_reference_to_no_step_is_refused_with_its_field() -> None:
    assert refusal(step("a", parameters={"x": "${b.outputs.y}"})) == (
        "Value error, step 'a': parameters: ${b.outputs.y}: found 'b', expected the name of a step"
    )


def test_c6_a_malformed_reference_is_refused_with_step_and_field() -> None:
    text = refusal(step("a"), step("b", "${a.models.out.0.url}"))
    assert "step 'b': argv: ${a.models.out.0.url}: found 'out'" in text


def test_a_reference_to_a_parameter_that_does_not_exist_is_refused() -> None:
    assert "${pipeline.x}: found 'x', expected a parameter" in refusal(step("a", "${pipeline.x}"))
    assert "${parameters.x}: found 'x'" in refusal(step("a", "${parameters.x}"))
    sound = step("a", "${pipeline.x.y}", "${parameters.z}", parameters={"z": 1})
    assert pipeline(sound, parameters={"x": {"y": 1}}).graph.parents == {"a": ()}


def test_several_things_that_are_wrong_are_said_together_up_to_a_bound() -> None:
    text = refusal(*[step(f"s{n}", after=["no"]) for n in range(100)])
    assert text.count("after") == 20
    assert text.endswith("and 80 more")


def test_a_base_gives_a_step_its_command_and_its_limits_and_parameters_go_before() -> None:
    base = RunSpec.model_validate(
        {"workload": {"kind": "command", "argv": ["echo", "${HOME}"], "env": {"A": "1", "B": "2"}},
         "timeout_s": 9, "grace_s": 7}
    )  # fmt: skip
    spec = {"name": "s", "workload": {"kind": "run", "run": 5}, "grace_s": 1}
    made = based(StepSpec.model_validate({**spec, "parameters": {"B": 3}}), base)
    assert made.workload.model_dump(include={"argv", "env"}) == {
        "argv": ["echo", "$${HOME}"],
        "env": {"A": "1", "B": "3"},
    }
    assert (made.timeout_s, made.grace_s) == (9, 1)


@pytest.mark.parametrize(
    "workload",
    [
        {"kind": "call", "pickle_sha256": "0" * 64},
        {"kind": "call", "target": "a:b", "args": [1]},
        {"kind": "pipeline", "steps": [step("a")]},
    ],
)
def test_c2_what_can_be_no_base_is_refused_with_the_step(workload: dict[str, object]) -> None:
    spec = {"name": "s", "workload": {"kind": "run", "run": 5}, "parameters": {"x": 1}}
    with pytest.raises(ValueError, match="step 's': base: found a"):
        based(StepSpec.model_validate(spec), RunSpec.model_validate({"workload": workload}))


def test_a_million_edges_make_a_graph_and_very_many_wrong_ones_a_short_refusal() -> None:
    names = [f"s{number}" for number in range(1415)]
    steps = [step(name, after=names[:at]) for at, name in enumerate(names)]
    graph = pipeline(*steps).graph
    assert sum(map(len, graph.parents.values())) > 1_000_000
    assert graph.order() == names
    text = refusal(step("a", after=[f"z{number}" for number in range(100_000)]))
    assert text.endswith("and 99980 more")
    assert len(text) < 5000


def test_names_with_a_meaning_of_their_own_are_refused() -> None:
    assert "step 'pipeline': name" in refusal(step("pipeline"))


def test_c11_a_reference_makes_a_dependency_and_says_so() -> None:
    graph = pipeline(step("a"), step("b"), step("c", "${a.id} ${b.outputs}", after=["b"])).graph
    assert graph.parents["c"] == ("b", "a")
    assert graph.inferred["c"] == ("a",)
    assert graph.children == {"a": ("c",), "b": ("c",), "c": ()}


def test_l7_in_the_graphs_order_a_step_is_seen_before_it_is_anybodys_parent() -> None:
    graph = pipeline(step("c", after=["b"]), step("b", after=["a"]), step("a")).graph
    assert graph.order() == ["a", "b", "c"]
    assert graph.descendants(["a"]) == {"b", "c"}
