"""The table `study` of a run file, in the words that people write.

In `space` a list stands for a choice and a single value for a fixed one; `search` and `scheduler`
may be just the name of a method. What the table asks for is checked by `StudySpec`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from intendant.protocol.filefields import FileModel, Limit, Wait
from intendant.protocol.shorthand import whole_method, whole_parameter
from intendant.protocol.study import Again, Mode

Resumes: TypeAlias = Callable[[str, str | None], bool]
"""Given where a snapshot may be, and the run's folder: whether to go on from it."""


def _method(value: object) -> object:
    whole = whole_method(value)
    if not isinstance(whole, dict):
        raise ValueError("expected the name of a method or a table")  # noqa: TRY004  for pydantic
    return whole


def _space(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError("expected a table of parameters")  # noqa: TRY004  for pydantic
    return {name: whole_parameter(parameter) for name, parameter in value.items()}


class MethodTable(FileModel):
    """A search or a scheduler; keys that are none of these are options of the method."""

    method: str
    call: str | None = Field(
        default=None, description="for `custom`: `package.module:factory` of one's own"
    )
    seed: int | None = Field(default=None, description="the same seed proposes the same trials")
    options: dict[str, JsonValue] | None = Field(
        default=None, description="passed on to the method by name"
    )


Method = Annotated[MethodTable, BeforeValidator(_method, json_schema_input_type=str | MethodTable)]


class CheckpointTable(FileModel):
    """Which of a trial's checkpoints are kept."""

    keep: int | None = Field(default=None, description="at most so many of a trial")
    by: str | None = Field(default=None, description="metric that says which are best")
    mode: Mode | None = None


class ResumeTable(FileModel):
    """Beginning where another study has stopped."""

    source: str = Field(description="snapshot folder: a path or an fsspec URL")
    finished: Again | None = None
    unfinished: Again | None = None
    errored: Again | None = None


class StudyTable(FileModel):
    """A search for good parameters. Left out: the default."""

    call: str | None = Field(
        default=None, description="the objective, a Python function: `package.module:function`"
    )
    argv: list[str] | None = Field(
        default=None, min_length=1, description="or a command; ${NAME} stands for a parameter"
    )
    space: Annotated[
        dict[str, JsonValue], BeforeValidator(_space, json_schema_input_type=dict[str, JsonValue])
    ] = Field(description="the parameters by name")
    metric: str = Field(description="which metric of a result says how good it is")
    mode: Mode | None = Field(default=None, description="whether low or high is good; min")
    further_metrics: dict[str, Mode] | None = Field(
        default=None, description="further metrics that count as much, each with its mode"
    )
    trials: int | None = Field(default=None, description="how many the search proposes")
    at_once: int | None = Field(default=None, description="how many trials run together")
    resources: dict[str, float | int] | None = Field(
        default=None, description="what one trial needs; one cpu when left out"
    )
    available: dict[str, float | int] | None = Field(
        default=None, description="what there is for all trials together"
    )
    search: Method | None = Field(default=None, description="random when left out")
    scheduler: Method | None = Field(default=None, description="fifo when left out")
    stop: list[str] | None = Field(
        default=None, description="a trial is complete once a result meets one of these"
    )
    stop_study: list[str] | None = Field(
        default=None, description="the study is complete once a result meets one of these"
    )
    stopper: str | None = Field(default=None, description="function that stops trials")
    trial_timeout: Limit | None = Field(default=None, description="longest time of one trial")
    time_limit: Limit | None = Field(
        default=None, description="after which the study ends with what it has"
    )
    trial_grace: Wait | None = Field(
        default=None, description="from telling a trial to stop to SIGTERM, and from there on"
    )
    max_failures: int | None = Field(
        default=None, description="how often a failed trial is started again"
    )
    fail_fast: bool | None = Field(default=None, description="the first failed trial ends it all")
    reuse: bool | None = Field(default=None, description="several trials in one process")
    pause: Literal["memory", "disk"] | None = None
    checkpoints: CheckpointTable | None = None
    snapshot: str | None = Field(
        default=None, description="folder, path or fsspec URL, for a copy of the state"
    )
    checkpoint_period: Wait | None = Field(
        default=None, description="the snapshot is made at most this often"
    )
    resume: ResumeTable | Literal["prompt"] | None = Field(
        default=None, description="prompt: whoever starts it is asked, if `snapshot` holds a study"
    )
    callbacks: list[str] | None = Field(default=None, description="factories of callbacks")

    @model_validator(mode="after")
    def _has_what_it_asks_about(self) -> StudyTable:
        if self.resume == "prompt" and self.snapshot is None:
            raise ValueError('resume = "prompt" asks about the snapshot, of which nothing is said')
        return self


_IN_SPEC = {
    "call": "target",
    "trial_timeout": "trial_timeout_s",
    "time_limit": "time_limit_s",
    "trial_grace": "trial_grace_s",
    "checkpoint_period": "checkpoint_period_s",
}
_IN_FILE = {in_spec: in_file for in_file, in_spec in _IN_SPEC.items()}


def fields_of_study(
    table: dict[str, Any], *, cwd: str | None, resumes: Resumes | None
) -> dict[str, Any]:
    """A study's table under the names that `StudySpec` has.

    `resumes` says whether a study that prompts goes on from its snapshot; None: it begins anew.
    """
    if table.get("resume") == "prompt":
        goes_on = resumes is not None and resumes(table["snapshot"], cwd)
        table["resume"] = {"source": table["snapshot"]} if goes_on else None
    return {
        _IN_SPEC.get(key, key): _renamed(value) if key in ("search", "scheduler") else value
        for key, value in table.items()
    }


def key_of_study(key: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where a field of `StudySpec` stands in the table."""
    if key[:1] == ("space",):  # behind the name the type, of a union's members
        key = (*key[:2], *key[3:])
    return tuple(_IN_FILE.get(part, part) if isinstance(part, str) else part for part in key)


def _renamed(table: dict[str, Any]) -> dict[str, Any]:
    return {_IN_SPEC.get(key, key): value for key, value in table.items()}
