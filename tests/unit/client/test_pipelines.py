"""Pipelines written in Python: what they say as a spec, what is refused while they are written."""

from __future__ import annotations

import base64
import sys
from typing import Any

import pytest

from intendant.client.command import submitted
from intendant.client.pickles import open_call, open_calls
from intendant.client.pipelines import Pipeline, Promise, step
from intendant.errors import InvalidRequest
from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.specs import Submission


@step
def collect(folder: str, depth: int = 1) -> dict[str, Any]:
    return {folder: depth}


@step(retry=2, timeout_s=60)
def parse(files: object, *, scale: float = 1.0) -> object:
    return files, scale


def spec(pipeline: Pipeline) -> PipelineSpec:
    found = Submission.model_validate(submitted(pipeline)).spec.workload
    assert isinstance(found, PipelineSpec)
    return found


def test_pyperunner_p1_what_is_no_sound_pipeline_is_refused_before_any_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")  # no private daemon could be started
    for nothing in (None, 3, object()):
        with pytest.raises(InvalidRequest, match="expected a command, a call, a pipeline"):
            submitted(nothing)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidRequest, match="pipeline 'empty': found no step"):
        submitted(Pipeline("empty"))
    alone = Pipeline("alone")
    alone.command(["true"])
    with pytest.raises(InvalidRequest, match="found resume, expected state_dir with it"):
        alone.run(resume=True)
    circle = Pipeline("circle")
    circle.command(["true"], name="a", after=["b"])
    circle.command(["true"], name="b", after=["a"])
    with pytest.raises(InvalidRequest, match="wait for each other in a circle"):
        circle.run()
    with pytest.raises(InvalidRequest, match="found a step of this name"):
        circle.command(["true"], name="a")


def test_outside_of_a_pipeline_a_step_is_its_function() -> None:
    assert collect("lib") == {"lib": 1}


def test_calls_inside_the_block_become_steps_and_promises_dependencies() -> None:
    with Pipeline("census", processes=2) as pipeline:
        files = collect("lib", depth=3)
        parse([files["lib"], "plain ${x}"])
        parse(files)
    found = spec(pipeline)
    assert [each.name for each in found.steps] == ["collect", "parse", "parse-2"]
    assert found.steps[0].parameters == {"folder": "lib", "depth": 3}
    assert found.steps[1].parameters == {"files": ["${collect.outputs.lib}", "plain $${x}"]}
    assert found.steps[1].retry.attempts == 2
    assert found.graph.parents["parse-2"] == ("collect",)


def test_what_json_does_not_know_travels_with_the_function() -> None:
    pipeline = Pipeline("hidden")
    pipeline.add(parse, (1, 2), scale=2.0)
    assert spec(pipeline).steps[0].parameters == {"scale": 2.0}
    packed = open_calls(base64.b64decode(pipeline.pickle or ""))["parse"]
    call = open_call(packed)
    assert call.kwargs == {"files": (1, 2)}
    assert call.function is parse  # by its name, so that its module is imported


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), (("a", 1, 2), {}), (("a",), {"width": 1})])
def test_arguments_that_do_not_fit_are_refused_with_the_step(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match="step 'collect'"):
        Pipeline("p").add(collect, *args, **kwargs)


def test_c1_a_second_step_of_one_name_is_refused_and_changes_nothing() -> None:
    pipeline = Pipeline("p")
    pipeline.add(collect.options(name="a"), "x")
    with pytest.raises(InvalidRequest, match="step 'a'"):
        pipeline.add(collect.options(name="a"), "y")
    assert spec(pipeline).steps[0].parameters == {"folder": "x"}


class Endless(str):
    """A text of a billion characters, which nobody may ask for."""

    def __len__(self) -> int:
        return 10**9

    def __str__(self) -> str:
        return self

    def replace(self, *_: object) -> str:
        raise AssertionError("it was copied")


@pytest.mark.parametrize("argument", [Endless(), [Endless()], {"x": Endless()}])
def test_a_parameter_of_a_billion_characters_is_refused_before_it_is_held(argument: Any) -> None:
    pipeline = Pipeline("endless")
    with pytest.raises(InvalidRequest, match="parameter 'files': found 1000000000 characters"):
        pipeline.add(parse, argument)
    with pytest.raises(InvalidRequest, match="step 'true': argv: found 1000000000 characters"):
        pipeline.command(["true", Endless()])
    with pytest.raises(InvalidRequest, match="found no step"):
        pipeline.spec()


def test_a_promise_beside_what_json_does_not_know_is_refused() -> None:
    pipeline = Pipeline("p")
    with pytest.raises(InvalidRequest, match="step 'parse': parameter 'files' holds a promise"):
        pipeline.add(parse, [pipeline.add(collect, "x"), {1, 2}])


def test_a_promise_can_not_be_looped_over() -> None:
    with pytest.raises(InvalidRequest, match="can't be looped over"):
        list(Promise("a"))


def test_commands_take_promises_in_their_arguments() -> None:
    pipeline = Pipeline("p", parameters={"top": 3})
    files = pipeline.add(collect, "x")
    argv: list[str | Promise] = [
        "head",
        f"-n{pipeline.parameter('top')}",
        files["a.b"],
        files.artifact("log"),
    ]
    pipeline.command(argv, name="show", after=[files], env={"A": "b"})
    found = spec(pipeline).steps[1]
    assert found.workload.model_dump(include={"argv", "env"}) == {
        "argv": [
            "head",
            "-n${pipeline.top}",
            "${collect.outputs.a\\.b}",
            "${collect.artifacts.log.path}",
        ],
        "env": {"A": "b"},
    }
    assert found.after == ["collect"]
