"""What of a spec is shown to whom."""

from __future__ import annotations

import pytest

from intendant.protocol.redaction import for_others, for_owner, looks_secret, with_secrets_apart
from intendant.protocol.specs import RunSpec, Submission


def command(**fields: object) -> RunSpec:
    workload = {"kind": "command", "argv": ["tool", "--as", "ann", "s3cret"], **fields}
    return RunSpec.model_validate({"workload": workload})


@pytest.mark.parametrize(
    "name",
    ["API_TOKEN", "TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "KEY", "api_key", "APIKEY",
     "CLIENT_SECRET", "GOOGLE_APPLICATION_CREDENTIALS"],
)  # fmt: skip
def test_names_that_say_so_are_secret(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["PATH", "PWD", "MONKEY", "KEYBOARD", "TOKENIZERS_PARALLELISM"])
def test_other_names_are_not(name: str) -> None:
    assert not looks_secret(name)


def test_a_variable_that_looks_secret_is_kept_apart_from_the_spec() -> None:
    submission = Submission.model_validate(
        {
            "spec": command(env={"A_TOKEN": "t", "B_KEY": "b", "PLAIN": "p"}),
            "secrets": {"env": {"B_KEY": "marked", "C": "c"}},
        }
    )

    apart = with_secrets_apart(submission)

    assert apart.spec.workload.env == {"PLAIN": "p"}
    assert apart.secrets.env == {"A_TOKEN": "t", "B_KEY": "marked", "C": "c"}


def test_the_owner_sees_all_but_the_values_that_look_secret() -> None:
    spec = command(env={"A_TOKEN": "t", "PLAIN": "p"}, secret_args=[3])
    shown = for_owner(spec)
    assert shown.workload.env == {"A_TOKEN": "***", "PLAIN": "p"}
    assert "s3cret" in shown.model_dump_json()


def test_others_see_no_environment_and_no_marked_argument() -> None:
    spec = command(env={"PLAIN": "p"}, secret_args=[3])
    shown = for_others(spec).model_dump()["workload"]
    assert shown["env"] == {}
    assert shown["argv"] == ["tool", "--as", "ann", "***"]


def test_a_calls_arguments_are_marked_by_name_or_position() -> None:
    for args, marked, shown in (
        ({"user": "ann", "password": "x"}, ["password", 0], {"user": "ann", "password": "***"}),
        (["ann", "x"], [1, "password"], ["ann", "***"]),
    ):
        workload = {"kind": "call", "target": "a:b", "args": args, "secret_args": marked}
        spec = for_others(RunSpec.model_validate({"workload": workload}))
        assert spec.model_dump()["workload"]["args"] == shown


def test_the_steps_of_a_pipeline_are_seen_to_as_well() -> None:
    step = {"name": "a", "workload": {"kind": "command", "argv": ["x"], "env": {"A_KEY": "k"}}}
    spec = RunSpec.model_validate({"workload": {"kind": "pipeline", "steps": [step]}})
    assert '"k"' not in for_owner(spec).model_dump_json()
    assert "A_KEY" not in for_others(spec).model_dump_json()


def test_a_marked_argument_is_hidden_among_the_parameters_of_a_step_too() -> None:
    work = {"kind": "call", "target": "a:b", "secret_args": ["token"]}
    step = {"name": "a", "workload": work, "parameters": {"user": "ann", "token": "t0ps"}}
    spec = RunSpec.model_validate({"workload": {"kind": "pipeline", "steps": [step]}})
    assert '"parameters":{"user":"ann","token":"***"}' in for_others(spec).model_dump_json()
    assert "t0ps" in for_owner(spec).model_dump_json()


@pytest.mark.parametrize("own", [5, "x", [["x"]], {"x": 1}])
def test_data_of_the_users_that_only_looks_like_a_mark_is_left_alone(own: object) -> None:
    args = {"data": {"secret_args": own, "args": "xyz"}}
    workload = {"kind": "call", "target": "a:b", "args": args}
    spec = for_others(RunSpec.model_validate({"workload": workload}))
    assert spec.model_dump()["workload"]["args"] == args


def test_a_spec_without_secrets_is_shown_as_it_is() -> None:
    spec = command()
    assert for_owner(spec) is spec
    assert for_others(spec) is spec
