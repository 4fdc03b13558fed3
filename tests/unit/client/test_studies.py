"""A study written in Python asks for what a run file asks for."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest

from intendant import Study, space
from intendant.client.command import spec_of
from intendant.client.pickles import open_call
from intendant.protocol.runfile import parse_run_file
from intendant.protocol.specs import RunSpec, Secrets, Submission

SPACE = {
    "rate": space.loguniform(1e-5, 0.1),
    "layers": space.integer(1, 4, log=True),
    "kind": ["adam", "sgd"],
    "momentum": space.uniform(0, 0.9, step=0.1, when={"kind": "sgd"}),
    "width": space.choice([32, 64], when={"kind": ["adam"]}),
    "epochs": 20,
}


def parsed(study: Study) -> RunSpec:
    return RunSpec.model_validate(spec_of(study))


def test_a_study_in_python_and_in_a_file_are_the_same() -> None:
    study = Study(
        "lab:fit", SPACE, metric="loss", mode="max", name="digits", trials=9, at_once=2,
        search="tpe", scheduler={"method": "asha", "options": {"min_resource": 1}}, reuse=True,
        stop=["loss > 0.9"], time_limit_s=60, max_failures=2, checkpoints={"keep": 1},
        resume={"source": "/kept"}, snapshot="/kept", timeout_s=90, cwd="/lab", env={"A": "1"},
    )  # fmt: skip
    table = {
        "call": "lab:fit", "metric": "loss", "mode": "max", "trials": 9, "at_once": 2,
        "space": {
            "rate": {"type": "loguniform", "low": 1e-5, "high": 0.1},
            "layers": {"type": "integer", "low": 1, "high": 4, "log": True},
            "kind": ["adam", "sgd"],
            "momentum": {"type": "uniform", "low": 0, "high": 0.9, "step": 0.1,
                         "when": {"kind": "sgd"}},
            "width": {"type": "choice", "values": [32, 64], "when": {"kind": ["adam"]}},
            "epochs": 20,
        },
        "search": "tpe", "scheduler": {"method": "asha", "options": {"min_resource": 1}},
        "reuse": True, "stop": ["loss > 0.9"], "time_limit": 60, "max_failures": 2,
        "checkpoints": {"keep": 1}, "resume": {"source": "/kept"}, "snapshot": "/kept",
    }  # fmt: skip
    data = {"name": "digits", "timeout": 90, "cwd": "/lab", "env": {"A": "1"}, "study": table}
    assert [parsed(study)] == parse_run_file(data, source="F.json")


def test_a_command_is_an_objective_too() -> None:
    study = Study(["fit", "--rate=${rate}"], {"rate": [1, 2]}, metric="loss", search="grid")
    workload = cast(Any, parsed(study).workload)
    assert workload.argv == ["fit", "--rate=${rate}"]
    assert study.pickle is None


def test_a_function_travels_beside_the_spec_which_vouches_for_it() -> None:
    study = Study(lambda rate: rate + 1, {"rate": [1, 2]}, metric="loss", search="grid")
    assert study.pickle is not None
    submission = Submission(spec=parsed(study), secrets=Secrets(pickle=study.pickle))
    assert "pickle" not in repr(submission.secrets)
    assert cast(Any, open_call(base64.b64decode(study.pickle)).function)(1) == 2
    other = Study(lambda rate: rate + 2, {"rate": [1, 2]}, metric="loss", search="grid")
    with pytest.raises(ValueError, match="not the one that the spec names"):
        Submission(spec=parsed(study), secrets=Secrets(pickle=other.pickle))


def test_further_metrics_are_said_alike() -> None:
    study = Study("lab:fit", {"x": [1, 2]}, metric="loss", search="grid",
                  further_metrics={"size": "min"})  # fmt: skip
    table = {"call": "lab:fit", "metric": "loss", "search": "grid", "space": {"x": [1, 2]},
             "further_metrics": {"size": "min"}}  # fmt: skip
    assert [parsed(study)] == parse_run_file({"study": table}, source="F.json")
    assert cast(Any, parsed(study).workload).goals == {"loss": "min", "size": "min"}
