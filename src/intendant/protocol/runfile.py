"""Run files: one run or several, in the flat keys that people write, as specs.

The reader of the file (TOML, YAML or JSON) hands over plain data. It is checked twice: its shape
here, with nothing guessed, then what it asks for by `RunSpec`, whose complaints are translated back
into the file's keys. Whatever is wrong is one line of a `SettingsError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from intendant.errors import SettingsError
from intendant.problems import Key, Problem, explain_validation_error, found, problems_of
from intendant.protocol.bulk import uncollected
from intendant.protocol.fields import NEW, Arguments, Name, QueueName
from intendant.protocol.filefields import FileModel, Limit, Retry, Umask, Wait
from intendant.protocol.pipelines import Execution, PipelineSpec, StepName
from intendant.protocol.specs import RunSpec, check_dependencies
from intendant.protocol.studyfile import Resumes, StudyTable, fields_of_study, key_of_study
from intendant.protocol.workloads import CallSpec, CommandSpec


class WorkTable(FileModel):
    """What a run or a step does."""

    argv: list[str] | None = Field(
        default=None, min_length=1, description="program and arguments, never a shell's line"
    )
    call: str | None = Field(
        default=None, description="instead of argv, a Python function: `package.module:function`"
    )
    args: Arguments | None = Field(default=None, description="of the call, by position or by name")
    result: Literal["json", "pickle"] | None = Field(
        default=None, description="how what the call returns is written"
    )
    cwd: str | None = Field(default=None, description="folder; the submitter's own when left out")
    env: dict[str, str] | None = Field(
        default=None, description="variables added to the submitter's environment"
    )
    umask: Umask | None = Field(default=None, description='file mode mask: "022"')
    stdin: str | None = Field(default=None, description="file to read from; nothing when left out")
    secret_args: list[int | str] | None = Field(
        default=None,
        description="arguments that only the owner and operators are shown: of a command by "
        "position, 1 being the first; of a call by position from 0, or by name",
    )


class StepDefaults(FileModel):
    """What holds for every step of a pipeline that does not say otherwise."""

    execution: Execution | None = Field(default=None, description="the pipeline's when left out")
    fresh: bool | None = Field(default=None, description="a call in a new interpreter")
    queue: QueueName | None = Field(default=None, description="for a step that is a run")
    priority: int | None = Field(default=None, description="among steps that are ready")
    timeout: Limit | None = Field(default=None, description="longest time of one attempt")
    grace: Wait | None = Field(default=None, description="from SIGTERM to SIGKILL")
    retry: Retry | None = Field(
        default=None, description="attempts after the first, or a table that says more"
    )
    cache: bool | None = Field(
        default=None, description="keep its result, and take it when it is there"
    )
    reload: bool | None = Field(
        default=None, description="run although a result is kept, and all that come after it"
    )
    continue_on_fail: bool | None = Field(
        default=None, description="its failure does not make the pipeline fail"
    )
    continue_on_abort: bool | None = Field(
        default=None, description="that it was aborted does not make the pipeline fail"
    )
    skip_children_on_fail: bool | None = Field(
        default=None, description="false: steps after it start although it failed"
    )
    skip_children_on_abort: bool | None = Field(
        default=None, description="false: steps after it start although it was aborted"
    )


class StepTable(WorkTable, StepDefaults):
    """One step of a pipeline: a command or a call. Its texts may hold references."""

    name: StepName
    base: int | None = Field(
        default=None, description="instead of argv, the id of a run whose command or call it is"
    )
    parameters: dict[str, JsonValue] | None = Field(
        default=None, description="of a call: arguments by name; of a command: `${parameters.x}`"
    )
    after: list[StepName] | None = Field(
        default=None, description="steps that must have succeeded first"
    )
    cache_files: list[str] | None = Field(
        default=None, description="files and folders that its result depends on"
    )
    artifacts: dict[StepName, str] | None = Field(
        default=None, description="files or folders that it leaves, by name"
    )


class RunTable(WorkTable):
    """One run: a command, a call or a pipeline, and how it is treated. Left out: the default."""

    name: Name | None = None
    map: list[Arguments] | None = Field(
        default=None, description="instead of args: one call for each, the results in order"
    )
    python: str | None = Field(
        default=None, description="interpreter of the call; the submitter's own when left out"
    )
    steps: list[StepTable] | None = Field(
        default=None, min_length=1, description="instead of argv, the steps of a pipeline"
    )
    defaults: StepDefaults | None = Field(default=None, description="for every step")
    parameters: dict[str, JsonValue] | None = Field(
        default=None, description="of the pipeline: what steps refer to as `${pipeline.x}`"
    )
    execution: Execution | None = Field(
        default=None,
        description="of steps: a process for each, one process for all, or a run for each",
    )
    processes: int | None = Field(
        default=None, description="for `map`, and steps at once; one for each CPU"
    )
    fail_fast: bool | None = Field(default=None, description="end all steps when one has failed")
    force: bool | None = Field(default=None, description="run every step, whatever is cached")
    cache_dir: str | None = Field(
        default=None, description="where results are kept; in the daemon's state when left out"
    )
    cache_max_age: Limit | None = Field(
        default=None, description="a result that was not used for so long goes"
    )
    cache_max_bytes: int | None = Field(
        default=None, description="the least recently used results beyond it go"
    )
    on_step_created: str | None = Field(
        default=None, description="function called before a step starts; it may skip the step"
    )
    on_step_completed: str | None = Field(default=None, description="called after a step's end")
    on_step_status: str | None = Field(default=None, description="called when a step changes")
    step_executor: str | None = Field(default=None, description="a class instead of our own")
    graph_executor: str | None = Field(default=None, description="a class instead of our own")
    study: StudyTable | None = Field(default=None, description="instead of argv, a study")
    queue: QueueName | None = None
    priority: int | None = Field(default=None, description="higher starts first")
    timeout: Limit | None = Field(default=None, description="longest time from start to end")
    grace: Wait | None = Field(default=None, description="from SIGTERM to SIGKILL")
    shutdown_grace: Wait | None = Field(
        default=None, description="from the request to SIGTERM, for workloads that can be asked"
    )
    retry: Retry | None = Field(
        default=None, description="attempts after the first, or a table that says more"
    )
    restartable: bool | None = Field(
        default=None, description="may start again after `interrupted`"
    )
    hold: bool | None = Field(default=None, description="wait in `held` until released")
    after: list[Name] | None = Field(
        default=None, description="names of runs of this file that must succeed first"
    )
    on_end: list[str] | None = Field(
        default=None,
        min_length=1,
        description="command that the daemon runs when the run has ended, its JSON on stdin",
    )


class RunFile(FileModel):
    """Several runs, queued all or none."""

    runs: list[RunTable] = Field(min_length=1)


_KINDS: dict[str, tuple[str, set[str]]] = {
    "argv": ("command", {*CommandSpec.model_fields} & {*RunTable.model_fields}),
    "call": ("call", {"call", *CallSpec.model_fields} & {*RunTable.model_fields}),
    "steps": (
        "pipeline",
        {"defaults", "cache_max_age", *PipelineSpec.model_fields} & {*RunTable.model_fields},
    ),
    "study": ("study", {"study", "cwd", "env", "umask", "python"}),
}
"""By the key that says what a run does: the kind of its workload, and the keys of that."""
_KINDS_OF_STEPS = {
    "argv": _KINDS["argv"],
    "call": _KINDS["call"],
    "base": ("run", {"base"}),
}
_KEYS = frozenset(key for _, keys in _KINDS.values() for key in keys)
_KEYS_OF_STEPS = frozenset(key for _, keys in _KINDS_OF_STEPS.values() for key in keys)
_EVERY_KIND = {**_KINDS, **_KINDS_OF_STEPS}
_IN_SPEC = {
    "base": "run",
    "call": "target",
    "timeout": "timeout_s",
    "grace": "grace_s",
    "shutdown_grace": "shutdown_grace_s",
    "backoff": "backoff_s",
    "backoff_max": "backoff_max_s",
    "cache_max_age": "cache_max_age_s",
}
IN_FILE = {in_spec: in_file for in_file, in_spec in _IN_SPEC.items()}
"""By the name of a field in a spec: its name in a file, where they differ."""


@uncollected()
def parse_run_file(data: object, *, source: str, resumes: Resumes | None = None) -> list[RunSpec]:
    """The runs that a file's data holds, in its order; `SettingsError` names all that is wrong.

    `resumes` answers for the studies whose `resume` is "prompt"; without it they begin anew.
    """
    tables = _read_tables(data, source)
    specs = []
    problems: list[Problem] = []
    for at, table in tables:
        if unclear := _problems_of_kind(table):
            problems += [Problem((*at, *problem.key), problem.text) for problem in unclear]
            continue
        try:
            specs.append(RunSpec.model_validate(_fields_of_spec(table, resumes), context=NEW))
        except ValidationError as error:
            problems += [
                Problem((*at, *_key_in_file(problem.key)), problem.text)
                for problem in problems_of(error)
            ]
    problems += _problems_of_order(tables)
    _refuse(problems, source)
    return specs


def _read_tables(data: object, source: str) -> list[tuple[Key, RunTable]]:
    """Every run's table and where it stands in the file."""
    _refuse(_problems_of_form(data), source)
    is_of_several = isinstance(data, dict) and "runs" in data
    try:
        if is_of_several:
            runs = RunFile.model_validate(data).runs
            return [(("runs", at), table) for at, table in enumerate(runs)]
        return [((), RunTable.model_validate(data))]
    except ValidationError as error:
        model = RunFile if is_of_several else RunTable
        text = explain_validation_error(error, source=source, model=model)
        raise SettingsError(text) from error


def _problems_of_form(data: object) -> list[Problem]:
    """What keeps the data from being one run or several."""
    if not isinstance(data, dict) or not data:
        expected = "a table: the keys of one run, or several as `runs`"
        return [Problem((), found(data or None, expected))]
    if "runs" not in data:
        return []
    beside = [key for key in data if key in RunTable.model_fields]
    text = "found a run's key beside `runs`, expected it in one of them"
    return [Problem((key,), text) for key in beside]


def _problems_of_kind(table: WorkTable) -> list[Problem]:
    """What keeps a table from saying one thing to do: which, with which keys."""
    kinds = _KINDS if isinstance(table, RunTable) else _KINDS_OF_STEPS
    given = {key for key in table.model_fields_set if getattr(table, key) is not None}
    mine = [key for key in kinds if key in given]
    if not mine:
        others = "a command, or a Python function as `call`"
        others += ", or `steps`, or `study`" if "steps" in kinds else ""
        return [Problem(("argv",), found(None, others))]
    if len(mine) > 1:
        return [Problem((mine[1],), f"found beside `{mine[0]}`, expected one of the two")]
    of_kinds = _KEYS if isinstance(table, RunTable) else _KEYS_OF_STEPS
    strange = sorted((given & of_kinds) - kinds[mine[0]][1])
    problems = [Problem((key,), _misplaced(key, mine[0], kinds)) for key in strange]
    return problems + _problems_of_steps(table)


def _misplaced(key: str, beside: str, kinds: Mapping[str, tuple[str, set[str]]]) -> str:
    owners = " or ".join(f"`{owner}`" for owner, (_, keys) in kinds.items() if key in keys)
    return f"found beside `{beside}`, expected beside {owners}"


def _problems_of_steps(table: WorkTable) -> list[Problem]:
    """The same for each step of a pipeline."""
    if not isinstance(table, RunTable):
        return []
    return [
        Problem(("steps", at, *problem.key), problem.text)
        for at, step in enumerate(table.steps or [])
        for problem in _problems_of_kind(step)
    ]


def _problems_of_order(tables: list[tuple[Key, RunTable]]) -> list[Problem]:
    """What is wrong with `after`: names of no run or of several, then runs in a circle."""
    problems = list(_unsound_names(tables))
    if problems:
        return problems
    try:
        check_dependencies([(table.name, table.after or []) for _, table in tables])
    except ValueError as error:
        return [Problem((), f"{error}, expected an order in which each can start")]
    return []


def _unsound_names(tables: list[tuple[Key, RunTable]]) -> Iterator[Problem]:
    owners = Counter(table.name for _, table in tables)
    for at, table in tables:
        for position, name in enumerate(table.after or []):
            key = (*at, "after", position)
            if owners[name] == 0:
                yield Problem(key, found(name, "the name of a run in this file"))
            elif owners[name] > 1:
                yield Problem(key, found(name, f"a name of one run; {owners[name]} have this one"))


def _fields_of_spec(table: RunTable, resumes: Resumes | None) -> dict[str, object]:
    """What the file gives, under the names and in the places that `RunSpec` has for it."""
    fields = _with_workload(table.model_dump(exclude_none=True))
    workload = fields["workload"]
    if table.study is not None:
        workload |= fields_of_study(workload.pop("study"), cwd=table.cwd, resumes=resumes)
    if table.steps is not None and isinstance(workload, dict):
        defaults = workload.pop("defaults", {})
        workload["steps"] = [_with_workload({**defaults, **step}) for step in workload["steps"]]
    return fields


def _with_workload(given: dict[str, Any]) -> dict[str, Any]:
    """The keys of what is to be done in a table of their own."""
    [(kind, keys)] = [_EVERY_KIND[key] for key in _EVERY_KIND if key in given]
    workload = {key: given.pop(key) for key in keys & given.keys()}
    if "retry" in given:
        given["retry"] = _renamed(given["retry"])
    return {"workload": {"kind": kind, **_renamed(workload)}, **_renamed(given)}


def _renamed(table: dict[str, Any]) -> dict[str, Any]:
    return {_IN_SPEC.get(key, key): value for key, value in table.items()}


def _key_in_file(key: Key) -> Key:
    """Where a field of `RunSpec` stands in the file, which has no tables for workloads."""
    if key[:2] == ("workload", "study"):
        inside = key[2:]
        is_beside = inside[:1] and inside[0] in _KINDS["study"][1]
        return inside if is_beside else ("study", *key_of_study(inside))
    flat: list[int | str] = []
    parts = iter(key)
    for part in parts:
        if part == "workload":
            next(parts, None)  # behind it the kind, of a union's members
        else:
            flat.append(IN_FILE.get(part, part) if isinstance(part, str) else part)
    return tuple(flat)


def _refuse(problems: list[Problem], source: str) -> None:
    if problems:
        raise SettingsError("\n".join(problem.line(source) for problem in problems))
