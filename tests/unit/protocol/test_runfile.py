from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from intendant.errors import SettingsError
from intendant.protocol.fields import RetryPolicy
from intendant.protocol.filefields import MAX_WAIT_S, RetryTable
from intendant.protocol.pipelines import PipelineSpec, StepSpec
from intendant.protocol.run_states import Outcome
from intendant.protocol.runfile import RunTable, StepTable, parse_run_file
from intendant.protocol.specs import RunSpec
from intendant.protocol.study import StudySpec
from intendant.protocol.studyfile import StudyTable
from intendant.protocol.workloads import CallSpec, CommandSpec

RUN: dict[str, Any] = {"argv": ["make"]}
OUTCOMES = "'succeeded', 'failed', 'cancelled', 'timed_out' or 'interrupted'"
NO_WORK = (
    "found nothing, expected a command, or a Python function as `call`, or `steps`, or `study`"
)
COMMAND = CommandSpec(kind="command", argv=["make"])

FULL = RunSpec(
    name="nightly build",
    queue="build",
    priority=5,
    workload=CommandSpec(
        kind="command",
        argv=["make", "all"],
        cwd="/srv/project",
        env={"CFLAGS": "-O2"},
        umask=0o22,
        stdin="answers.txt",
    ),
    timeout_s=3600,
    grace_s=10,
    shutdown_grace_s=1.5,
    retry=RetryPolicy(attempts=2, on=[Outcome.FAILED], backoff_s=5, backoff_max_s=120),
    restartable=True,
    hold=True,
    after=["sources"],
    on_end=["notify", "me"],
)

FULL_TOML = """
[[runs]]
name = "sources"
argv = ["git", "pull"]

[[runs]]
name = "nightly build"
argv = ["make", "all"]
cwd = "/srv/project"
env = { CFLAGS = "-O2" }
umask = "022"
stdin = "answers.txt"
queue = "build"
priority = 5
timeout = "1h"
grace = 10
shutdown_grace = 1.5
restartable = true
hold = true
after = ["sources"]
on_end = ["notify", "me"]

[runs.retry]
attempts = 2
on = ["failed"]
backoff = "5s"
backoff_max = "2m"
"""

FULL_YAML = """
runs:
- name: sources
  argv: [git, pull]
- name: nightly build
  argv: [make, all]
  cwd: /srv/project
  env: {CFLAGS: -O2}
  umask: "022"
  stdin: answers.txt
  queue: build
  priority: 5
  timeout: 1h
  grace: 10
  shutdown_grace: 1.5
  restartable: true
  hold: true
  after: [sources]
  on_end: [notify, me]
  retry: {attempts: 2, on: [failed], backoff: 5s, backoff_max: 2m}
"""


def complaints(data: object) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        parse_run_file(data, source="F.toml")
    return str(refused.value).splitlines()


@pytest.mark.parametrize(
    "data", [tomllib.loads(FULL_TOML), yaml.safe_load(FULL_YAML)], ids=["TOML", "YAML"]
)
def test_every_key_finds_its_place_in_the_spec(data: object) -> None:
    sources, build = parse_run_file(data, source="F.toml")

    assert sources.name == "sources"
    assert build == FULL


def test_json_says_the_same_as_toml() -> None:
    data = json.loads(json.dumps(tomllib.loads(FULL_TOML)))

    assert parse_run_file(data, source="F.json")[1] == FULL


def test_what_is_left_out_has_the_default_of_the_spec() -> None:
    assert parse_run_file(RUN, source="F.toml") == [RunSpec(workload=COMMAND)]


def test_an_empty_value_of_yaml_counts_as_left_out() -> None:
    data = yaml.safe_load("argv: [make]\ntimeout:\nenv:\nretry:\nafter:\n")

    assert parse_run_file(data, source="F.yaml") == [RunSpec(workload=COMMAND)]


def test_runs_keep_the_order_of_the_file() -> None:
    data = {"runs": [{**RUN, "name": name} for name in "cab"]}

    assert [run.name for run in parse_run_file(data, source="F.toml")] == ["c", "a", "b"]


def test_a_bare_number_of_retries_stands_for_the_table() -> None:
    (run,) = parse_run_file({**RUN, "retry": 3}, source="F.toml")

    assert run.retry == RetryPolicy(attempts=3)


@pytest.mark.parametrize("umask", ["022", "0022", "0o22", "22", 0o22])
def test_a_umask_is_octal_text_or_a_number(umask: object) -> None:
    (run,) = parse_run_file({**RUN, "umask": umask}, source="F.toml")

    assert run.workload.umask == 0o22


def test_names_that_nobody_refers_to_may_be_the_same() -> None:
    data = {"runs": [{**RUN, "name": "a"}, {**RUN, "name": "a"}]}

    assert len(parse_run_file(data, source="F.toml")) == 2


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (None, "found nothing, expected a table: the keys of one run, or several as `runs`"),
        ({}, "found nothing, expected a table: the keys of one run, or several as `runs`"),
        ([3], "found [3], expected a table: the keys of one run, or several as `runs`"),
        ("make", "found 'make', expected a table: the keys of one run, or several as `runs`"),
        ({"runs": []}, "runs: found [], expected a list of at least 1"),
        ({"runs": RUN}, "runs: found a table, expected a list"),
        ({"runs": None}, "runs: found nothing, expected a list"),
        ({"runs": ["make"]}, "runs[0]: found 'make', expected a table"),
        ({"runs": [RUN], "name": "a"},
         "name: found a run's key beside `runs`, expected it in one of them"),
        ({"runs": [RUN], "rusn": []}, "rusn: found an unknown key, expected 'runs' perhaps"),
        (RUN | {3: 4}, "[3]: found 3, expected text as a key"),
    ],
)  # fmt: skip
def test_a_file_that_is_neither_one_run_nor_several_is_refused(
    data: object, complaint: str
) -> None:
    assert complaints(data) == [f"F.toml: {complaint}"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"argv": None}, f"argv: {NO_WORK}"),
        ({"argv": []}, "argv: found [], expected a list of at least 1"),
        ({"argv": "make all"}, "argv: found 'make all', expected a list"),
        ({"argv": ["sleep", 5]}, "argv[1]: found 5, expected text"),
        ({"argv": [""]}, "argv: the program's name is empty"),
        ({"argv": ["a\0"]},
         "argv: argument 0 holds a NUL character, which no process can be given"),
        ({"name": ""}, "name: found '', expected 1 to 200 characters on one line"),
        ({"cwd": ""}, "cwd: the path is empty"),
        ({"stdin": 3}, "stdin: found 3, expected text"),
        ({"env": {"N": 4}}, "env.N: found 4, expected text"),
        ({"env": {"A=B": "x"}}, "env: 'A=B' is no name of an environment variable"),
        ({"umask": "999"}, "umask: found '999', expected octal digits, 000 to 777"),
        ({"umask": "1000"}, "umask: found '1000', expected octal digits, 000 to 777"),
        ({"umask": 512}, "umask: found 512, expected at most 511"),
        ({"umask": 1.5}, "umask: found 1.5, expected a whole number"),
        ({"priority": "5"}, "priority: found '5', expected a whole number"),
        ({"priority": True}, "priority: found True, expected a whole number"),
        ({"priority": 2**31}, "priority: found 2147483648, expected at most 2147483647"),
        ({"timeout": 0}, "timeout: found 0, expected more than 0 and at most 3650d"),
        ({"timeout": "0s"}, "timeout: found '0s', expected more than 0 and at most 3650d"),
        ({"timeout": "3651d"}, "timeout: found '3651d', expected more than 0 and at most 3650d"),
        ({"timeout": "soon"}, "timeout: found 'soon', expected 90, 1.5s, 2m, 3h or 1d"),
        ({"timeout": -1}, "timeout: found -1, expected 90, 1.5s, 2m, 3h or 1d"),
        ({"timeout": True}, "timeout: found True, expected 90, 1.5s, 2m, 3h or 1d"),
        ({"timeout": ["1h"]}, "timeout: found ['1h'], expected 90, 1.5s, 2m, 3h or 1d"),
        ({"timeout": float("nan")}, "timeout: found nan, expected 90, 1.5s, 2m, 3h or 1d"),
        ({"grace": "25h"}, "grace: found '25h', expected at most 1d"),
        ({"shutdown_grace": "x"}, "shutdown_grace: found 'x', expected 90, 1.5s, 2m, 3h or 1d"),
        ({"retry": "3"}, "retry: found '3', expected a number or a table"),
        ({"retry": True}, "retry: found True, expected a number or a table"),
        ({"retry": -1}, "retry.attempts: found -1, expected at least 0"),
        ({"retry": {}}, "retry.attempts: found nothing, expected a value"),
        ({"retry": {"attempts": 1001}}, "retry.attempts: found 1001, expected at most 1000"),
        ({"retry": {"attempts": 1, "on": ["lost"]}},
         f"retry.on[0]: found 'lost', expected {OUTCOMES}"),
        ({"retry": {"attempts": 1, "on": ["cancelled"]}},
         "retry.on: a run is never retried after cancelled"),
        ({"retry": {"attempts": 1, "backoff": "25h"}},
         "retry.backoff: found '25h', expected at most 1d"),
        ({"retry": {"attempts": 1, "attempt": 1}},
         "retry.attempt: found an unknown key, expected 'attempts' perhaps"),
        ({"restartable": "yes"}, "restartable: found 'yes', expected true or false"),
        ({"hold": 1}, "hold: found 1, expected true or false"),
        ({"timeout_s": 3}, "timeout_s: found an unknown key, expected 'timeout' perhaps"),
        ({"on_end": "a"}, "on_end: found 'a', expected a list"),
        ({"on_end": ["a\0"]},
         "on_end: argument 0 holds a NUL character, which no process can be given"),
        ({"after": "a"}, "after: found 'a', expected a list"),
        ({"after": ["a"]}, "after[0]: found 'a', expected the name of a run in this file"),
    ],
)  # fmt: skip
def test_a_run_that_can_not_be_used_is_refused_with_its_key(
    given: dict[str, object], complaint: str
) -> None:
    assert complaints({**RUN, **given}) == [f"F.toml: {complaint}"]
    if not complaint.startswith("after[0]"):
        assert complaints({"runs": [RUN, {**RUN, **given}]}) == [f"F.toml: runs[1].{complaint}"]


def test_a_run_without_a_command_is_refused() -> None:
    expected = f"F.toml: argv: {NO_WORK}"
    assert complaints({"name": "a"}) == [expected]


def test_a_call_becomes_a_spec_with_what_was_said() -> None:
    data = {"call": "lab:fit", "args": {"rate": 0.1}, "python": "/venv/bin/python", "umask": "077"}

    assert parse_run_file({**data, "shutdown_grace": "9s"}, source="F.toml") == [
        RunSpec(
            workload=CallSpec(
                kind="call",
                target="lab:fit",
                args={"rate": 0.1},
                python="/venv/bin/python",
                umask=0o77,
            ),
            shutdown_grace_s=9,
        )
    ]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"argv": ["a"], "call": "a:b"}, "call: found beside `argv`, expected one of the two"),
        ({"argv": ["a"], "args": [1]}, "args: found beside `argv`, expected beside `call`"),
        ({"call": "a:b", "stdin": "x"}, "stdin: found beside `call`, expected beside `argv`"),
        ({"call": "a:b", "args": 3}, "args: found 3, expected a list or a table"),
        ({"call": "a:b", "map": [3]}, "map[0]: found 3, expected a list or a table"),
        ({"call": "a:b", "processes": 2}, "processes are for map"),
        ({"call": "a:b", "result": "yaml"}, "result: found 'yaml', expected 'json' or 'pickle'"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(data: object, complaint: str) -> None:
    assert complaints(data) == [f"F.toml: {complaint}"]


def test_a_queue_with_a_space_is_refused() -> None:
    (line,) = complaints({**RUN, "queue": "two words"})

    assert line.startswith("F.toml: queue: found 'two words', expected a name of 1 to 64 letters")


def test_each_problem_of_several_runs_has_its_line() -> None:
    data = {"runs": [{"argv": ["a\0"]}, RUN, {**RUN, "umask": 512, "after": ["x"]}]}

    assert [line.split(": ")[1] for line in complaints(data)] == [
        "runs[0].argv",
        "runs[2].umask",
        "runs[2].after[0]",
    ]


def test_a_name_that_two_runs_have_can_not_be_waited_for() -> None:
    data = {"runs": [{**RUN, "name": "a"}, {**RUN, "name": "a"}, {**RUN, "after": ["a"]}]}

    assert complaints(data) == [
        "F.toml: runs[2].after[0]: found 'a', expected a name of one run; 2 have this one"
    ]


def test_runs_that_wait_for_each_other_are_refused() -> None:
    data = {"runs": [{**RUN, "name": "a", "after": ["b"]}, {**RUN, "name": "b", "after": ["a"]}]}

    (line,) = complaints(data)

    assert line.startswith("F.toml: runs wait for each other in a circle: ")


def test_a_run_that_waits_for_itself_is_refused() -> None:
    (line,) = complaints({**RUN, "name": "a", "after": ["a"]})

    assert line.startswith("F.toml: runs wait for each other in a circle: a → a, expected")


@pytest.mark.parametrize("field", ["grace_s", "shutdown_grace_s"])
def test_the_longest_grace_of_a_file_is_that_of_a_spec(field: str) -> None:
    RunSpec.model_validate({"workload": COMMAND, field: MAX_WAIT_S})
    with pytest.raises(ValidationError):
        RunSpec.model_validate({"workload": COMMAND, field: MAX_WAIT_S + 1})


@pytest.mark.parametrize("field", ["backoff_s", "backoff_max_s"])
def test_the_longest_back_off_of_a_file_is_that_of_a_spec(field: str) -> None:
    RetryPolicy.model_validate({field: MAX_WAIT_S})
    with pytest.raises(ValidationError):
        RetryPolicy.model_validate({field: MAX_WAIT_S + 1})


def without_unit(fields: object) -> set[str]:
    return {str(name).removesuffix("_s") for name in fields}  # type: ignore[attr-defined]


def test_a_file_can_say_all_that_a_spec_can() -> None:
    works = {*CommandSpec.model_fields, *CallSpec.model_fields, "call"}
    not_said = {"workload", "kind", "target", "pickle_sha256", "retry_of", "continues"}
    not_said.add("code_sha256")  # goes with a pickle
    of_pipelines = {*PipelineSpec.model_fields, "defaults"}

    in_runs = {*RunSpec.model_fields, *works, *of_pipelines, "study"} - not_said
    assert set(RunTable.model_fields) == without_unit(in_runs)
    in_steps = {*StepSpec.model_fields, *works, "base"} - not_said - {"map", "processes", "python"}
    assert set(StepTable.model_fields) == without_unit(in_steps)
    assert set(RetryTable.model_fields) == without_unit(RetryPolicy.model_fields)


def test_a_studys_table_can_say_all_that_its_spec_can() -> None:
    beside = {"cwd", "env", "umask", "python", "kind", "target", "pickle_sha256"}
    in_table = ({*StudySpec.model_fields} - beside) | {"call"}
    assert set(StudyTable.model_fields) == without_unit(in_table)


STUDY: dict[str, Any] = {
    "call": "digits:objective",
    "metric": "loss",
    "trials": 5,
    "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1}, "layers": [1, 2], "seed": 3},
}


def test_a_study_may_be_said_in_short() -> None:
    given = {"study": {**STUDY, "search": "tpe", "trial_timeout": "2m"}, "cwd": "there"}
    [spec] = parse_run_file(given, source="F.toml")
    study = spec.workload
    assert isinstance(study, StudySpec)
    assert (study.target, study.search.method) == ("digits:objective", "tpe")
    assert (study.trial_timeout_s, study.cwd) == (120, "there")
    assert study.space["layers"].model_dump()["values"] == [1, 2]
    assert study.space["seed"].model_dump()["value"] == 3


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"space": {"lr": {"type": "uniform", "low": 2, "high": 1}}},
         "study.space.lr: found low = 2 above high = 1"),
        ({"space": {"lr": {"type": "uniform", "low": float("nan"), "high": 1}}},
         "study.space.lr.low: found nan, expected a finite number"),
        ({"trial_timeout": 0}, "study.trial_timeout: found 0, expected more than 0"),
        ({"metrik": "loss"}, "study.metrik: found an unknown key, expected 'metric' perhaps"),
        ({"trials": None}, "study: the study would never end: it needs trials or time_limit"),
        ({"search": "annealing"}, "study.search.method: found 'annealing', expected 'random'"),
        ({"stop": ["loss"]}, "study.stop[0]: found 'loss', expected a condition"),
        ({"call": "nowhere"}, "study.call: found 'nowhere', expected a function as package"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_study_is_named_by_its_key(
    given: dict[str, Any], complaint: str
) -> None:
    study = {key: value for key, value in {**STUDY, **given}.items() if value is not None}
    [line] = complaints({"study": study})
    assert line.startswith(f"F.toml: {complaint}")
