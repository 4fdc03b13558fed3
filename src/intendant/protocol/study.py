"""What a study is asked to be: trials over a space of parameters, the best of them wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from intendant.protocol.fields import (
    Argv,
    KnownRun,
    Model,
    PassablePath,
    Seconds,
    Target,
    Variables,
)
from intendant.protocol.placeholders import names_in
from intendant.protocol.space import (
    MAX_PARAMETERS,
    Grid,
    Parameter,
    ParameterName,
    in_order,
    values_of,
)

MAX_TRIALS = 1_000_000
MAX_TRIALS_AT_ONCE = 1024
MAX_METRICS = 10
MAX_REPORTS = 100_000
"""Of one trial: what the schedulers look at must end somewhere."""

MetricName = ParameterName
Mode = Literal["min", "max"]

RESERVED = frozenset({"step", "checkpoint", "export"})
"""Words of a report that are no metrics."""

SEARCHES_OF_ONE_METRIC = frozenset({"cmaes"})
SCHEDULERS_OF_SEVERAL_METRICS = frozenset({"fifo", "custom"})

_CONDITION = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_.\-/]*)\s*(>=|<=|>|<)\s*(\S+)\s*$")


def parse_condition(text: str) -> tuple[str, str, float]:
    """Metric, comparison and bound of `accuracy >= 0.99`; `ValueError` if it is none."""
    match = _CONDITION.match(text)
    try:
        if match is not None and (bound := float(match[3])) == bound:
            return match[1], match[2], bound
    except ValueError:
        pass
    raise ValueError(f"found {text!r}, expected a condition such as 'accuracy >= 0.99'")


def _sound_condition(text: str) -> str:
    parse_condition(text)
    return text


Condition = Annotated[str, Field(max_length=500), AfterValidator(_sound_condition)]
Conditions = Annotated[list[Condition], Field(max_length=20)]


class SearchSpec(Model):
    """Who proposes the parameters of the next trial."""

    method: Literal["random", "grid", "tpe", "cmaes", "qmc", "nsgaii", "custom"] = "random"
    target: Target | None = Field(
        default=None, description="for `custom`: `package.module:factory` of a Searcher"
    )
    seed: int | None = Field(
        default=None, ge=0, le=2**32 - 1, description="the same seed proposes the same trials"
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict, max_length=50, description="passed on to the method by name"
    )

    @model_validator(mode="after")
    def _names_its_own(self) -> SearchSpec:
        if (self.method == "custom") != (self.target is not None):
            raise ValueError("target is for the method custom, and that one needs it")
        if self.options and self.method in ("random", "grid"):
            raise ValueError(f"the method {self.method} takes no options")
        return self


class SchedulerSpec(Model):
    """Who decides which trials go on."""

    method: Literal["fifo", "asha", "hyperband", "median", "pbt", "custom"] = "fifo"
    target: Target | None = Field(
        default=None, description="for `custom`: `package.module:factory` of a TrialScheduler"
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict, max_length=50, description="passed on to the method by name"
    )

    @model_validator(mode="after")
    def _names_its_own(self) -> SchedulerSpec:
        if (self.method == "custom") != (self.target is not None):
            raise ValueError("target is for the method custom, and that one needs it")
        if self.options and self.method == "fifo":
            raise ValueError("the method fifo takes no options")
        return self


class CheckpointSpec(Model):
    """Which of a trial's checkpoints are kept: always the last, and the best of the others."""

    keep: int | None = Field(
        default=None, ge=1, le=100_000, description="at most so many of a trial; all by default"
    )
    by: MetricName | None = Field(
        default=None, description="metric that says which are best; the latest when left out"
    )
    mode: Mode | None = Field(default=None, description="whether low or high `by` is good")

    @model_validator(mode="after")
    def _is_whole(self) -> CheckpointSpec:
        if (self.by is None) != (self.mode is None):
            raise ValueError("by and mode go together")
        return self


Again = Literal["skip", "resume", "restart"]


class ResumeSpec(Model):
    """Beginning where another study, or this one elsewhere, has stopped."""

    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=4000,
        description="snapshot folder (a path or an fsspec URL), or the folder of a run",
    )
    run_id: KnownRun | None = Field(
        default=None, description="or a run of this daemon's; set by `retry --continue`"
    )
    finished: Again = Field(default="skip", description="what to do with finished trials")
    unfinished: Again = Field(default="resume", description="with those that had not ended")
    errored: Again = Field(default="skip", description="with those that had failed")

    @model_validator(mode="after")
    def _names_one(self) -> ResumeSpec:
        if (self.source is None) == (self.run_id is None):
            raise ValueError("it is either a source or a run")
        return self


class StudySpec(Model):
    """A search for good parameters: the objective, its space, how to search and when to stop."""

    can_be_asked: ClassVar[bool] = True

    kind: Literal["study"]
    target: Target | None = Field(
        default=None, description="the objective: `package.module:function`"
    )
    pickle_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="or the function itself: of the pickle in the secrets",
    )
    argv: Argv | None = Field(
        default=None,
        description="or a command; ${NAME} stands for a parameter, $$ for a dollar sign",
    )
    space: dict[ParameterName, Parameter] = Field(
        default_factory=dict, max_length=MAX_PARAMETERS, description="the parameters by name"
    )
    metric: MetricName = Field(description="which metric of a result says how good it is")
    mode: Mode = Field(default="min", description="whether low or high is good")
    further_metrics: dict[MetricName, Mode] = Field(
        default_factory=dict,
        max_length=MAX_METRICS - 1,
        description="further metrics that count as much: then no trial is the best, and the "
        "result is those that no other one beats (the Pareto front)",
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TRIALS,
        description="how many the search proposes; all points of a grid when left out",
    )
    at_once: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TRIALS_AT_ONCE,
        description="how many trials run together; as the resources allow when left out",
    )
    resources: dict[ParameterName, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=lambda: {"cpu": 1.0},
        max_length=20,
        description="what one trial needs",
    )
    available: dict[ParameterName, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict,
        max_length=20,
        description="what there is for all trials together; cpu: the machine's when left out",
    )
    search: SearchSpec = Field(default_factory=SearchSpec)
    scheduler: SchedulerSpec = Field(default_factory=SchedulerSpec)
    stop: Conditions = Field(
        default_factory=list, description="a trial is complete once a result meets one of these"
    )
    stop_study: Conditions = Field(
        default_factory=list, description="the study is complete once a result meets one of these"
    )
    stopper: Target | None = Field(
        default=None, description="a function (trial, result) that says whether to stop the trial"
    )
    trial_timeout_s: Seconds | None = Field(default=None, description="longest time of one trial")
    time_limit_s: Seconds | None = Field(
        default=None, description="after which the study ends with what it has; by the wall clock"
    )
    trial_grace_s: float = Field(
        default=5.0, ge=0, le=86400, allow_inf_nan=False,
        description="from telling a trial to stop to SIGTERM, and from there to SIGKILL",
    )  # fmt: skip
    max_failures: int = Field(
        default=0, ge=0, le=1000, description="how often a failed trial is started again"
    )
    fail_fast: bool = Field(default=False, description="the first failed trial ends the study")
    reuse: bool = Field(
        default=False, description="several trials, one after the other, in one process"
    )
    pause: Literal["memory", "disk"] = Field(
        default="memory", description="whether a paused trial keeps its process"
    )
    checkpoints: CheckpointSpec = Field(default_factory=CheckpointSpec)
    snapshot: str | None = Field(
        default=None,
        min_length=1,
        max_length=4000,
        description="folder (a path or an fsspec URL) that a copy of the state is kept in",
    )
    checkpoint_period_s: float = Field(
        default=10.0, ge=0, le=86400, allow_inf_nan=False,
        description="the snapshot is made at most this often",
    )  # fmt: skip
    resume: ResumeSpec | None = None
    callbacks: list[Target] = Field(
        default_factory=list, max_length=20, description="factories of callbacks"
    )
    python: PassablePath | None = Field(
        default=None, description="interpreter that has this package; the daemon's when left out"
    )
    cwd: PassablePath | None = Field(
        default=None, description="folder; the submitter's own when left out"
    )
    env: Variables = Field(
        default_factory=dict, description="variables added to the submitter's environment"
    )
    umask: int | None = Field(default=None, ge=0, le=0o777, description="file mode mask")

    @model_validator(mode="after")
    def _is_sound(self) -> StudySpec:
        if sum(each is not None for each in (self.target, self.pickle_sha256, self.argv)) != 1:
            raise ValueError(
                "a study has either a target or an argv as its objective, or a pickled function"
            )
        in_order(self.space)
        _check_placeholders(self.argv or [], self.space)
        self._check_search()
        self._check_resources()
        if self.argv is not None and self.reuse:
            raise ValueError("reuse is for functions: a command is a process of its own")
        self._check_metrics()
        return self

    @property
    def goals(self) -> dict[str, Mode]:
        """Every metric that says how good a trial is, with its mode."""
        return {self.metric: self.mode, **self.further_metrics}

    def _check_metrics(self) -> None:
        for name in self.goals:
            if name in RESERVED:
                raise ValueError(
                    f"the metric can't be called {name!r}: reports have this word already"
                )
        if not self.further_metrics:
            return
        if self.metric in self.further_metrics:
            raise ValueError(f"{self.metric} is the metric already, and can't be a further one")
        if self.search.method in SEARCHES_OF_ONE_METRIC:
            raise ValueError(
                f"the search {self.search.method} knows one metric, found {len(self.goals)}: "
                "nsgaii, tpe, qmc, random, grid and custom take several"
            )
        if self.scheduler.method not in SCHEDULERS_OF_SEVERAL_METRICS:
            raise ValueError(
                f"the scheduler {self.scheduler.method} compares trials by one metric, found "
                f"{len(self.goals)}: fifo and custom take several"
            )

    def _check_search(self) -> None:
        if self.search.method == "grid":
            check_grid(self)
            return
        if grids := [name for name, each in self.space.items() if isinstance(each, Grid)]:
            raise ValueError(
                f"{grids[0]} is a grid, which the search {self.search.method} does not walk: "
                "make it a choice, or the search grid"
            )
        if self.trials is None and self.time_limit_s is None:
            raise ValueError("the study would never end: it needs trials or time_limit")

    def _check_resources(self) -> None:
        for name, amount in self.resources.items():
            if name != "cpu" and name not in self.available:
                raise ValueError(f"a trial needs {name}, of which available says nothing")
            there = self.available.get(name)
            if there is not None and amount > there:
                raise ValueError(
                    f"a trial needs {amount:g} {name}, but only {there:g} are available: "
                    "none could ever start"
                )


def gone_on(study: StudySpec, run_id: int | None) -> StudySpec:
    """The study of run `run_id` as it goes on: what is done stays done. With None: as it began."""
    resume = study.resume
    if run_id is not None:
        resume = ResumeSpec(run_id=run_id, errored="resume")
    elif resume is not None and resume.run_id is not None:
        resume = None
    return study.model_copy(update={"resume": resume})


def check_grid(spec: StudySpec) -> None:
    """Refuse what has no grid, and a grid that nobody lives to see the end of."""
    for name, parameter in spec.space.items():
        if values_of(parameter) is None:
            raise ValueError(
                f"{name} is a real number, of which the search grid can't walk every value"
            )
    points = grid_size(spec.space.values())
    if spec.trials is None and spec.time_limit_s is None and points > MAX_TRIALS:
        raise ValueError(
            f"the grid has up to {points} points, more than {MAX_TRIALS}: it needs trials or "
            "time_limit as a bound"
        )


def grid_size(parameters: Iterable[Parameter]) -> int:
    """How many points a grid has, were every parameter to exist at each."""
    size = 1
    for parameter in parameters:
        values = values_of(parameter)
        size *= 1 if values is None else len(values)
    return size


def _check_placeholders(argv: list[str], space: dict[str, Parameter]) -> None:
    for argument in argv:
        for name in names_in(argument):
            if name not in space:
                raise ValueError(f"${{{name}}} in argv is no parameter of the space")
