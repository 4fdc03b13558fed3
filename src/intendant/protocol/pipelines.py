"""A pipeline: a graph of steps, each a command or a call, and how they are carried out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field, JsonValue, StringConstraints, ValidationInfo, model_validator

from intendant.problems import InWords
from intendant.protocol.fields import (
    HANDED_ON,
    NEW,
    KnownRun,
    Model,
    PassablePath,
    Priority,
    QueueName,
    RetryPolicy,
    Seconds,
    Target,
    Variables,
)
from intendant.protocol.graph import Graph, check_own_parameters, make_graph
from intendant.protocol.references import as_text, escape
from intendant.protocol.workloads import CallSpec, CommandSpec

MAX_STEPS = 100_000
_CHILD = "pipeline"

StepName = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_\-]*$"),
    InWords("a name of 1 to 100 letters, digits, '_' or '-', the first no '-'"),
]
Parameters = dict[str, JsonValue]
Execution = Literal["processes", "inline", "runs"]


class BaseSpec(Model):
    """What another run did: the daemon puts its workload here when the pipeline is queued."""

    kind: Literal["run"]
    run: KnownRun = Field(description="its id")


_NO_RETRY = RetryPolicy()
"""One for all steps: there can be many."""

StepWorkload = Annotated[CommandSpec | CallSpec | BaseSpec, Field(discriminator="kind")]


class StepSpec(Model):
    """One step: what it does, what it comes after, how it is to be treated.

    Texts in its workload and its parameters may hold references (`protocol.references`); a step
    that is referred to is one that it comes after.
    """

    name: StepName
    workload: StepWorkload
    parameters: Parameters = Field(
        default_factory=dict, description="of a call: arguments by name; of a command: `${…}`"
    )
    after: list[StepName] = Field(
        default_factory=list, description="steps that must have succeeded first"
    )
    execution: Execution | None = Field(default=None, description="the pipeline's when left out")
    fresh: bool = Field(default=False, description="a call in a new interpreter")
    queue: QueueName | None = Field(default=None, description="for a step that is a run")
    priority: Priority = Field(default=0, description="among steps that are ready: higher first")
    timeout_s: Seconds | None = Field(default=None, description="longest time of one attempt")
    grace_s: float = Field(
        default=3.0, ge=0, le=86400, allow_inf_nan=False, description="from SIGTERM to SIGKILL"
    )
    retry: RetryPolicy = Field(default_factory=lambda: _NO_RETRY)
    artifacts: dict[StepName, PassablePath] = Field(
        default_factory=dict, description="files or folders that it leaves, by name"
    )
    cache: bool = Field(default=False, description="keep its result, and take it when it is there")
    cache_files: list[PassablePath] = Field(
        default_factory=list, description="files and folders that its result depends on"
    )
    code_sha256: str | None = Field(
        default=None, description="of the code behind a function that travels by its name"
    )
    reload: bool = Field(
        default=False, description="run although a result is kept, and all that come after it"
    )
    continue_on_fail: bool = Field(
        default=False, description="its failure does not make the pipeline fail"
    )
    continue_on_abort: bool = Field(
        default=False, description="that it was aborted does not make the pipeline fail"
    )
    skip_children_on_fail: bool = Field(
        default=True, description="false: steps after it start although it failed"
    )
    skip_children_on_abort: bool = Field(
        default=True, description="false: steps after it start although it was aborted"
    )

    def texts(self) -> Iterator[tuple[str, object]]:
        """Each field that holds something, maybe references, by what a run file calls it."""
        for field in ("parameters", "artifacts"):
            if value := getattr(self, field):
                yield field, value
        for field in _TEXTS[self.workload.kind]:
            if value := getattr(self.workload, field):
                yield field, value


_TEXTS = {"command": ("argv", "env", "cwd", "stdin"), "call": ("args", "env", "cwd"), "run": ()}


def is_pickled(step: StepSpec) -> bool:
    """Whether the step's function travels in the pipeline's pickle."""
    return isinstance(step.workload, CallSpec) and step.workload.pickle_sha256 is not None


class Continuation(Model):
    """Where a pipeline goes on from: what was done there stays done. Set by `retry`."""

    run_id: KnownRun = Field(description="the run whose steps are kept")
    rerun: list[StepName] = Field(
        default_factory=list, description="steps that run again, with all that come after them"
    )


def child_key(run_id: int, step: str, attempt: str) -> str:
    """The submission key of the run that carries out an attempt at a step of run `run_id`."""
    return f"{_CHILD}/{run_id}/{step}/{attempt}"


def children_keys(run_id: int) -> tuple[str, str]:
    """Between which two texts the keys of all such runs are, by their bytes."""
    return f"{_CHILD}/{run_id}/", f"{_CHILD}/{run_id}0"  # 0 comes next to the slash


def parent_of(submission_key: str) -> int | None:
    """The run whose step the run with this key carries out, if it is such a key."""
    match submission_key.split("/"):
        case [kind, run_id, _, _] if kind == _CHILD and run_id.isdecimal() and len(run_id) < 19:
            return int(run_id)
    return None


class ContinueOrder(Model):
    """How a pipeline that has ended is to go on, in a new run."""

    rerun: list[StepName] = Field(
        default_factory=list,
        max_length=1000,
        description="steps that run again although they were done, with all that come after them",
    )
    parameters: Parameters = Field(
        default_factory=dict, description="of the pipeline, instead of those that it had"
    )
    step_parameters: dict[StepName, Parameters] = Field(
        default_factory=dict, description="of steps, instead of those that they had"
    )


class PipelineSpec(Model):
    """A graph of steps that is carried out as one run.

    It is verified as a whole: names, references, order; what is wrong names the step and the field.
    """

    can_be_asked: ClassVar[bool] = True

    kind: Literal["pipeline"]
    steps: list[StepSpec] = Field(min_length=1, max_length=MAX_STEPS)
    parameters: Parameters = Field(
        default_factory=dict, description="what steps refer to as `${pipeline.x}`"
    )
    execution: Execution = Field(
        default="processes",
        description="a process for each step, one process for all, or a run for each",
    )
    processes: int | None = Field(
        default=None, ge=1, le=1024, description="steps at once; one for each CPU when left out"
    )
    fail_fast: bool = Field(default=False, description="end all steps when one has failed")
    force: bool = Field(default=False, description="run every step, whatever results are kept")
    cache_dir: PassablePath | None = Field(
        default=None, description="where results are kept; in the daemon's state when left out"
    )
    cache_max_age_s: Seconds = Field(
        default=30 * 86400.0, description="a result that was not used for so long goes"
    )
    cache_max_bytes: int = Field(
        default=10 * 1024**3, ge=0, description="the least recently used results beyond it go"
    )
    on_step_created: Target | None = Field(
        default=None, description="called before a step starts; `False` or `skip` skips it"
    )
    on_step_completed: Target | None = Field(default=None, description="called after its end")
    on_step_status: Target | None = Field(default=None, description="called when it changes")
    step_executor: Target | None = Field(
        default=None, description="a class that carries out one step, instead of our own"
    )
    graph_executor: Target | None = Field(
        default=None, description="a class that carries out the graph, instead of our own"
    )
    continues: Continuation | None = None
    pickle_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="of the pickle in the secrets, which holds the functions of steps",
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
    def _is_sound(self, info: ValidationInfo) -> PipelineSpec:
        """Make the graph, which raises what is wrong with it."""
        if info.context == HANDED_ON:
            return self
        self.graph  # noqa: B018
        if info.context == NEW:  # an earlier version has taken others
            check_own_parameters([step for step in self.steps if step.parameters])
        for step in self.steps:
            if is_pickled(step) and self.pickle_sha256 is None:
                raise ValueError(f"step {step.name!r} is pickled, but the pipeline has no pickle")
        return self

    @property
    def only_waits(self) -> bool:
        """Whether its own process does nothing but wait for runs of its steps."""
        return all(self.execution_of(step) == "runs" for step in self.steps)

    def queues(self) -> dict[str, str]:
        """The queues that steps go to as runs, each with the first step that does."""
        found: dict[str, str] = {}
        for step in self.steps:
            if self.execution_of(step) == "runs":
                found.setdefault(step.queue or "default", step.name)
        return found

    def execution_of(self, step: StepSpec) -> Execution:
        """How a step is carried out."""
        return step.execution or self.execution

    @cached_property
    def graph(self) -> Graph:
        """Who comes after whom."""
        return make_graph(self.steps, self.parameters)


def continued(
    pipeline: PipelineSpec, run_id: int, order: ContinueOrder, *, has_done: bool = True
) -> PipelineSpec:
    """The pipeline of run `run_id` as it goes on; `ValueError` names a step that it has not.

    Or a parameter without effect: a new one of the pipeline, or of a step that is a command.

    Where that run has not done anything (`has_done`), from where it should have gone on.
    """
    known = {step.name for step in pipeline.steps}
    if strange := [name for name in (*order.rerun, *order.step_parameters) if name not in known]:
        raise ValueError(f"run {run_id}: found {strange[0]!r}, expected the name of a step")
    if unknown := [name for name in order.parameters if name not in pipeline.parameters]:
        expected = ", ".join(pipeline.parameters) or "none: the pipeline has no parameters"
        raise ValueError(f"run {run_id}: parameters: found {unknown[0]!r}, expected {expected}")
    steps = [
        _with_parameters(step, order.step_parameters.get(step.name)) for step in pipeline.steps
    ]
    changed = {
        "steps": steps,
        "parameters": {**pipeline.parameters, **order.parameters},
        "continues": Continuation(run_id=run_id, rerun=order.rerun)
        if has_done
        else _passed_on(pipeline.continues, order.rerun),
    }
    fields = {name: getattr(pipeline, name) for name in PipelineSpec.model_fields}
    return PipelineSpec.model_validate({**fields, **changed}, context=NEW)


def _passed_on(continuation: Continuation | None, rerun: list[str]) -> Continuation | None:
    """The same for the next run: what was to run again has not run yet."""
    if continuation is None:
        return None
    again = list(dict.fromkeys([*continuation.rerun, *rerun]))
    return continuation.model_copy(update={"rerun": again})


def _with_parameters(step: StepSpec, parameters: Parameters | None) -> StepSpec:
    if parameters is None:
        return step
    unknown = [name for name in parameters if name not in step.parameters]
    if unknown and isinstance(step.workload, CommandSpec):  # of which nothing there can speak
        expected = ", ".join(step.parameters) or "none: the step has no parameters"
        raise ValueError(
            f"step {step.name!r}: parameters: found {unknown[0]!r}, expected {expected}"
        )
    changed: dict[str, object] = {"parameters": {**step.parameters, **parameters}}
    if isinstance(step.workload, CommandSpec):
        changed["workload"] = _with_variables(step.workload, step.parameters, parameters)
    return step.model_copy(update=changed)


def _with_variables(workload: CommandSpec, before: Parameters, changed: Parameters) -> CommandSpec:
    """The command, where parameters are variables of its environment: see `based`."""
    env = {
        name: as_text(value)
        for name, value in changed.items()
        if workload.env.get(name) == as_text(before[name])
    }
    return workload.model_copy(update={"env": {**workload.env, **env}}) if env else workload


def based(step: StepSpec, base: RunBase) -> StepSpec:
    """The step with what its base run did and its limits; what the step says itself goes before.

    Its parameters are arguments by name of a call, or variables of a command's environment.
    `ValueError` says why the run can't be a base.
    """
    match base.workload:
        case CommandSpec() as command:
            given = {name: as_text(value) for name, value in step.parameters.items()}
            fields = {**_escaped(command), "env": {**escape(command.env), **given}}
            workload: CommandSpec | CallSpec = CommandSpec(**fields)
        case CallSpec(target=str(), map=None) as call if not (step.parameters and _is_list(call)):
            workload = CallSpec(**_escaped(call))
        case _:
            raise ValueError(
                f"step {step.name!r}: base: found a {base.kind}, expected a command, or a call of "
                "a named function whose arguments go by name"
            )
    limits = {
        name: getattr(base, name)
        for name in ("timeout_s", "grace_s")
        if name not in step.model_fields_set
    }
    return step.model_copy(update={"workload": workload, **limits})


def _is_list(call: CallSpec) -> bool:
    return isinstance(call.args, list) and bool(call.args)


def _escaped(workload: CommandSpec | CallSpec) -> dict[str, Any]:
    """The fields of a workload whose texts hold no references, as those of a step."""
    return {name: escape(getattr(workload, name)) for name in workload.model_fields_set}


class RunBase(Protocol):
    """What a run that is a base says: a `RunSpec`."""

    @property
    def kind(self) -> str: ...

    @property
    def workload(self) -> object: ...

    @property
    def timeout_s(self) -> float | None: ...

    @property
    def grace_s(self) -> float: ...
