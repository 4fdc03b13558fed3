from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from intendant.protocol.environment import encode_environment
from intendant.protocol.fields import MAX_ARGUMENT_BYTES, MAX_DURATION_S, RetryPolicy
from intendant.protocol.run_states import Outcome
from intendant.protocol.specs import (
    MAX_ENVIRONMENT_BYTES,
    RunSpec,
    Secrets,
    Submission,
    check_dependencies,
)
from intendant.protocol.workloads import CallSpec, CommandSpec

COMMAND: dict[str, Any] = {"kind": "command", "argv": ["make"]}


def complaint_about(
    model: type[CommandSpec | CallSpec | RetryPolicy | RunSpec | Secrets], **given: Any
) -> str:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(given)
    (details,) = refused.value.errors()
    where = ".".join(map(str, details["loc"]))
    return f"{where}: {details['msg']}"


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("argv", [], "argv: List should have at least 1 item"),
        ("argv", [""], "argv: Value error, the program's name is empty"),
        ("argv", ["a", "b\0"], "argv: Value error, argument 1 holds a NUL character"),
        ("argv", ["x" * 131_072], "argv: Value error, argument 0 has 131072 bytes"),
        ("argv", ["a", "é" * 65_536], "argv: Value error, argument 1 has 131072 bytes"),
        ("argv", "make", "argv: Input should be a valid list"),
        ("cwd", "", "cwd: Value error, the path is empty"),
        ("cwd", "/a\0b", "cwd: Value error, the path holds a NUL"),
        ("stdin", "", "stdin: Value error, the path is empty"),
        ("env", {"": "1"}, "env: Value error, '' is no name"),
        ("env", {"A=B": "1"}, "env: Value error, 'A=B' is no name"),
        ("env", {"A": "\0"}, "env: Value error, environment variable A holds a NUL"),
        ("env", {"A": "x" * 131_070}, "env: Value error, environment variable A has 131072"),
        ("umask", 0o1000, "umask: Input should be less than or equal to 511"),
        ("umask", -1, "umask: Input should be greater than or equal to 0"),
        ("kind", "callable", "kind: Input should be 'command'"),
        ("shell", True, "shell: Extra inputs are not permitted"),
    ],
)
def test_a_command_that_no_process_can_be_given_is_refused(
    field: str, value: object, complaint: str
) -> None:
    assert complaint_about(CommandSpec, **COMMAND | {field: value}).startswith(complaint)


def test_what_the_kernel_just_takes_is_taken() -> None:
    longest = "x" * MAX_ARGUMENT_BYTES
    value = "x" * (MAX_ARGUMENT_BYTES - len("A="))

    command = CommandSpec(kind="command", argv=["a", "", longest], env={"A": value})

    assert command.argv == ["a", "", longest]
    assert command.env == {"A": value}


def test_a_command_says_that_it_is_one() -> None:
    assert complaint_about(CommandSpec, argv=["make"]) == "kind: Field required"


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("name", "", "name: Input should be 1 to 200"),
        ("name", "x" * 201, "name: Input should be 1 to 200"),
        ("name", "two\nlines", "name: Input should be 1 to 200"),
        ("name", "\x1b[31m", "name: Input should be 1 to 200"),
        ("queue", "", "queue: Input should be a name of"),
        ("queue", "two words", "queue: Input should be a name of"),
        ("queue", ".hidden", "queue: Input should be a name of"),
        ("queue", "q" * 65, "queue: Input should be a name of"),
        ("queue", "gpu\n", "queue: Input should be a name of"),
        ("priority", 2**31, "priority: Input should be less than or equal to"),
        ("priority", -(2**31) - 1, "priority: Input should be greater than or equal to"),
        ("timeout_s", 0, "timeout_s: Input should be greater than 0"),
        ("timeout_s", -1, "timeout_s: Input should be greater than 0"),
        ("timeout_s", MAX_DURATION_S * 2, "timeout_s: Input should be less than or equal to"),
        ("timeout_s", float("nan"), "timeout_s: Input should be"),
        ("timeout_s", float("inf"), "timeout_s: Input should be"),
        ("grace_s", -1, "grace_s: Input should be greater than or equal to 0"),
        ("grace_s", 86_401, "grace_s: Input should be less than or equal to"),
        ("grace_s", float("nan"), "grace_s: Input should be"),
        ("shutdown_grace_s", -1, "shutdown_grace_s: Input should be greater than or equal to 0"),
        ("shutdown_grace_s", float("nan"), "shutdown_grace_s: Input should be"),
        ("after", ["x"] * 1001, "after: List should have at most 1000 items"),
        ("after", [""], "after.0: Input should be 1 to 200"),
        ("on_end", [], "on_end: List should have at least 1 item"),
        ("on_end", [""], "on_end: Value error, the program's name is empty"),
        ("on_end", "mail", "on_end: Input should be a valid list"),
        ("colour", "red", "colour: Extra inputs are not permitted"),
    ],
)
def test_a_run_beyond_its_bounds_is_refused(field: str, value: object, complaint: str) -> None:
    assert complaint_about(RunSpec, **{"workload": COMMAND, field: value}).startswith(complaint)


def test_a_run_without_a_workload_is_refused() -> None:
    assert complaint_about(RunSpec, name="empty") == "workload: Field required"


def test_a_run_has_the_kind_of_its_workload() -> None:
    assert RunSpec.model_validate({"workload": COMMAND}).kind == "command"


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("attempts", -1, "attempts: Input should be greater than or equal to 0"),
        ("attempts", 1001, "attempts: Input should be less than or equal to 1000"),
        ("on", ["succeeded"], "on: Value error, a run is never retried after succeeded"),
        ("on", ["failed", "cancelled"], "on: Value error, a run is never retried after cancelled"),
        ("on", ["failed"] * 6, "on: List should have at most 5 items"),
        ("on", ["lost"], "on.0: Input should be 'succeeded', 'failed'"),
        ("backoff_s", -1, "backoff_s: Input should be greater than or equal to 0"),
        ("backoff_s", float("nan"), "backoff_s: Input should be"),
        ("backoff_max_s", 86_401, "backoff_max_s: Input should be less than or equal to"),
    ],
)
def test_a_retry_that_makes_no_sense_is_refused(field: str, value: object, complaint: str) -> None:
    assert complaint_about(RetryPolicy, **{field: value}).startswith(complaint)


def test_nothing_is_retried_unless_asked_for() -> None:
    policy = RetryPolicy()

    assert policy.attempts == 0
    assert policy.on == [Outcome.FAILED, Outcome.TIMED_OUT]


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("environment", "no base64!", "environment: Value error"),
        ("environment", "QQ==", "environment: Value error, the environment's last entry"),
        ("env", {"A=B": "1"}, "env: Value error, 'A=B' is no name"),
        ("env", {"A": "\0"}, "env: Value error, environment variable A holds a NUL"),
    ],
)
def test_secrets_that_are_no_environment_are_refused(
    field: str, value: object, complaint: str
) -> None:
    assert complaint_about(Secrets, **{field: value}).startswith(complaint)


def test_an_environment_of_a_mebibyte_passes_and_no_larger_one() -> None:
    largest = encode_environment({b"A": b"x" * (MAX_ENVIRONMENT_BYTES - len(b"A=\0"))})
    larger = encode_environment({b"A": b"x" * (MAX_ENVIRONMENT_BYTES + 3)})

    assert Secrets(environment=largest).environment == largest
    assert complaint_about(Secrets, environment=larger).startswith("environment: String should")


def test_secrets_are_not_in_what_is_printed_of_a_submission() -> None:
    submission = Submission(
        spec=RunSpec.model_validate({"workload": COMMAND}),
        secrets=Secrets(
            environment=encode_environment({b"TOKEN": b"hunter2"}), env={"KEY": "hunter2"}
        ),
    )

    encoded = submission.secrets.environment
    assert encoded is not None
    for text in (repr(submission), str(submission), repr(submission.secrets)):
        assert "hunter2" not in text
        assert encoded not in text


CALL: dict[str, Any] = {"kind": "call", "target": "lab:fit"}
PICKLED: dict[str, Any] = {"kind": "call", "pickle_sha256": hashlib.sha256(b"p").hexdigest()}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"target": None}, ": Value error, a call has either a target or a pickle"),
        ({"pickle_sha256": "0" * 64}, ": Value error, a call has either a target or a pickle"),
        ({"target": "lab.fit"}, "target: Input should be a function as"),
        ({"target": "lab:fit\n"}, "target: Input should be a function as"),
        ({"target": "../lab:fit"}, "target: Input should be a function as"),
        ({"args": 3}, "args: Value error, expected a list or a table"),
        ({"args": [1], "map": [[1]]}, ": Value error, args and map exclude each other"),
        ({"processes": 2}, ": Value error, processes are for map"),
        ({"map": [[1]], "processes": 0}, "processes: Input should be greater than or equal to 1"),
        ({"args": ["x" * 262_144]}, ": Value error, the arguments have 262155 bytes as JSON"),
        ({"result": "yaml"}, "result: Input should be 'json' or 'pickle'"),
        ({"python": ""}, "python: Value error, the path is empty"),
        ({"env": {"A=B": "1"}}, "env: Value error, 'A=B' is no name"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(given: dict[str, Any], complaint: str) -> None:
    assert complaint_about(CallSpec, **CALL | given).startswith(complaint)


def test_a_pickle_brings_its_own_arguments() -> None:
    assert "its own arguments" in complaint_about(CallSpec, **PICKLED, args=[1])


@pytest.mark.parametrize(
    ("workload", "pickle"),
    [(PICKLED, None), (PICKLED, b"q"), (CALL, b"p"), (COMMAND, b"p")],
)
def test_a_pickle_that_its_spec_does_not_name_is_refused(
    workload: dict[str, Any], pickle: bytes | None
) -> None:
    encoded = None if pickle is None else base64.b64encode(pickle).decode()
    with pytest.raises(ValidationError, match="is not the one that the spec names"):
        Submission.model_validate({"spec": {"workload": workload}, "secrets": {"pickle": encoded}})


def test_a_pickle_that_its_spec_names_is_taken_and_never_printed() -> None:
    secrets = {"pickle": base64.b64encode(b"p").decode()}
    submission = Submission.model_validate({"spec": {"workload": PICKLED}, "secrets": secrets})
    assert submission.secrets.pickle_bytes() == b"p"
    assert secrets["pickle"] not in repr(submission)


@pytest.mark.parametrize("pickle", ["no base64!", base64.b64encode(b"x" * 1_048_577).decode()])
def test_what_is_no_pickle_or_too_large_is_refused(pickle: str) -> None:
    assert "pickle: " in complaint_about(Secrets, pickle=pickle)


@pytest.mark.parametrize(
    ("workload", "grace_s", "expected"),
    [(COMMAND, None, (0, 3)), (CALL, None, (5, 3)), (CALL, 1, (1, 1)), (CALL, 9, (5, 9)),
     (COMMAND, 0, (0, 0))],
)  # fmt: skip
def test_only_a_call_is_asked_before_the_signals(
    workload: dict[str, Any], grace_s: float | None, expected: tuple[float, float]
) -> None:
    assert RunSpec.model_validate({"workload": workload}).graces_s(grace_s) == expected


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_submission_key_has_one_to_two_hundred_characters(key: str) -> None:
    with pytest.raises(ValidationError, match="submission_key"):
        Submission.model_validate({"spec": {"workload": COMMAND}, "submission_key": key})


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [(None, [])],
        [("a", []), ("b", ["a"]), ("c", ["a", "b"])],
        [("b", ["a"]), ("a", [])],
        [("a", []), ("a", [])],
        [("a", []), (None, ["a"]), (None, ["a"])],
    ],
)
def test_runs_that_can_start_one_after_another_pass(
    runs: list[tuple[str | None, list[str]]],
) -> None:
    check_dependencies(runs)


@pytest.mark.parametrize(
    ("runs", "complaint"),
    [
        ([("a", ["b"])], "run 'a' comes after 'b', which is no run here"),
        ([(None, ["b"])], "a run without a name comes after 'b', which is no run here"),
        ([("a", []), ("a", []), ("b", ["a"])], "run 'b' comes after 'a', a name that two runs"),
        ([("a", ["a"])], "runs wait for each other in a circle: a → a"),
        ([("a", ["b"]), ("b", ["a"])], "runs wait for each other in a circle: "),
        ([("a", ["c"]), ("b", ["a"]), ("c", ["b"])], "runs wait for each other in a circle: "),
    ],
)
def test_runs_that_can_never_all_start_are_refused(
    runs: list[tuple[str | None, list[str]]], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_dependencies(runs)


def test_only_an_argument_that_is_there_can_be_secret() -> None:
    CommandSpec(kind="command", argv=["echo", "a", "b"], secret_args=[1, 2])
    with pytest.raises(ValidationError, match="found 3, but the program has 2 arguments"):
        CommandSpec(kind="command", argv=["echo", "a", "b"], secret_args=[3])
