"""Run files: one run or several, in the flat keys that people write, as specs.

The reader of the file (TOML, YAML or JSON) hands over plain data. It is checked twice: its shape
here, with nothing guessed (`"5"` is no number), then what it asks for by `RunSpec`, whose
complaints are translated back into the file's keys. Whatever is wrong is one line of a
`SettingsError`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from intendant.errors import SettingsError
from intendant.problems import Key, Problem, explain_validation_error, found, problems_of
from intendant.protocol.durations import parse_duration
from intendant.protocol.fields import MAX_DURATION_S, Arguments, Model, Name, QueueName
from intendant.protocol.run_states import Outcome
from intendant.protocol.specs import CallSpec, CommandSpec, RunSpec, check_dependencies

MAX_WAIT_S = 86400.0
"""The longest grace or back-off that `RunSpec` takes."""

_OCTAL = re.compile(r"(0o)?0?[0-7]{1,3}")


def _duration(value: object) -> float:
    """Seconds from a duration in the file; `ValueError` if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected 90, 1.5s, 2m, 3h or 1d")  # noqa: TRY004  what pydantic catches
    return parse_duration(value)


def _wait(value: object) -> float:
    """Seconds from a duration that may be nothing, but is no longer than a spec allows."""
    duration_s = _duration(value)
    if duration_s > MAX_WAIT_S:
        raise ValueError("expected at most 1d")
    return duration_s


def _limit(value: object) -> float:
    """Seconds from a duration that is not nothing and no longer than a spec allows."""
    duration_s = _duration(value)
    if not 0 < duration_s <= MAX_DURATION_S:
        raise ValueError("expected more than 0 and at most 3650d")
    return duration_s


def _umask(value: object) -> object:
    """A file mode mask, from octal text or as it is."""
    if not isinstance(value, str):
        return value
    if _OCTAL.fullmatch(value) is None:
        raise ValueError("expected octal digits, 000 to 777")
    return int(value, 8)


def _retry(value: object) -> object:
    """A bare number of attempts stands for the table that holds only this."""
    if isinstance(value, bool) or not isinstance(value, int | dict):
        raise ValueError("expected a number or a table")  # noqa: TRY004  what pydantic catches
    if isinstance(value, int):
        return {"attempts": value}
    # YAML 1.1 reads a bare `on` as true (https://yaml.org/type/bool.html); here it is a key.
    return {"on" if key is True else key: content for key, content in value.items()}


_DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*[smhdSMHD]?\s*$"},
        {"type": "number", "minimum": 0},
    ]
}
_UMASK_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": f"^{_OCTAL.pattern}$"},
        {"type": "integer", "minimum": 0, "maximum": 0o777},
    ]
}

Wait = Annotated[float, BeforeValidator(_wait), WithJsonSchema(_DURATION_SCHEMA)]
Limit = Annotated[float, BeforeValidator(_limit), WithJsonSchema(_DURATION_SCHEMA)]
Umask = Annotated[int, BeforeValidator(_umask), WithJsonSchema(_UMASK_SCHEMA)]


class FileModel(Model):
    """A table in a file: nothing is converted that the file's own syntax can say."""

    model_config = ConfigDict(strict=True)


class RetryTable(FileModel):
    """When a run that ended badly is queued again by itself."""

    attempts: int = Field(description="attempts after the first")
    on: list[Annotated[Outcome, Field(strict=False)]] | None = None
    backoff: Wait | None = Field(default=None, description="wait before the second")
    backoff_max: Wait | None = Field(default=None, description="the wait doubles up to")


Retry = Annotated[
    RetryTable,
    BeforeValidator(
        _retry,
        json_schema_input_type=Annotated[int, Field(ge=0)] | RetryTable,
    ),
]


class RunTable(FileModel):
    """One run: a command or a call, and how it is to be treated. Left out: the default."""

    name: Name | None = None
    argv: list[str] | None = Field(
        default=None, min_length=1, description="program and arguments, never a shell's line"
    )
    call: str | None = Field(
        default=None, description="instead of argv, a Python function: `package.module:function`"
    )
    args: Arguments | None = Field(default=None, description="of the call, by position or by name")
    map: list[Arguments] | None = Field(
        default=None, description="instead of args: one call for each, the results in order"
    )
    processes: int | None = Field(default=None, description="for `map`; one for each CPU")
    result: Literal["json", "pickle"] | None = Field(
        default=None, description="how what the call returns is written"
    )
    python: str | None = Field(
        default=None, description="interpreter of the call; the submitter's own when left out"
    )
    cwd: str | None = Field(default=None, description="folder; the submitter's own when left out")
    env: dict[str, str] | None = Field(
        default=None, description="variables added to the submitter's environment"
    )
    umask: Umask | None = Field(default=None, description='file mode mask: "022"')
    stdin: str | None = Field(default=None, description="file to read from; nothing when left out")
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


KNOWN_KEYS = frozenset({*RunTable.model_fields, *RetryTable.model_fields, *RunFile.model_fields})

_IN_COMMAND = CommandSpec.model_fields.keys() & RunTable.model_fields.keys()
_IN_CALL = {"call", *(CallSpec.model_fields.keys() & RunTable.model_fields.keys())}
_IN_SPEC = {
    "call": "target",
    "timeout": "timeout_s",
    "grace": "grace_s",
    "shutdown_grace": "shutdown_grace_s",
    "backoff": "backoff_s",
    "backoff_max": "backoff_max_s",
}
_IN_FILE = {in_spec: in_file for in_file, in_spec in _IN_SPEC.items()}


def parse_run_file(data: object, *, source: str) -> list[RunSpec]:
    """The runs that a file's data holds, in its order; `SettingsError` names all that is wrong."""
    tables = _read_tables(data, source)
    specs = []
    problems: list[Problem] = []
    for at, table in tables:
        if unclear := _problems_of_kind(table):
            problems += [Problem((*at, *problem.key), problem.text) for problem in unclear]
            continue
        try:
            specs.append(RunSpec.model_validate(_fields_of_spec(table)))
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
    try:
        if isinstance(data, dict) and "runs" in data:
            runs = RunFile.model_validate(data).runs
            return [(("runs", at), table) for at, table in enumerate(runs)]
        return [((), RunTable.model_validate(data))]
    except ValidationError as error:
        text = explain_validation_error(error, source=source, known=KNOWN_KEYS)
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


def _problems_of_kind(table: RunTable) -> list[Problem]:
    """What keeps a table from being either a command or a call."""
    if table.argv is None and table.call is None:
        return [Problem(("argv",), found(None, "a command, or a Python function as `call`"))]
    if table.argv is not None and table.call is not None:
        return [Problem(("call",), "found beside `argv`, expected one of the two")]
    mine, other = ("argv", "call") if table.call is None else ("call", "argv")
    strange = _IN_CALL - _IN_COMMAND if table.call is None else _IN_COMMAND - _IN_CALL
    text = f"found beside `{mine}`, expected beside `{other}`"
    given = table.model_dump(exclude_none=True)
    return [Problem((key,), text) for key in given if key in strange]


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


def _fields_of_spec(table: RunTable) -> dict[str, object]:
    """What the file gives, under the names and in the places that `RunSpec` has for it."""
    given = table.model_dump(exclude_none=True)
    workload = {key: given.pop(key) for key in (_IN_COMMAND | _IN_CALL) & given.keys()}
    kind = "command" if table.call is None else "call"
    if "retry" in given:
        given["retry"] = _renamed(given["retry"])
    return {"workload": {"kind": kind, **_renamed(workload)}, **_renamed(given)}


def _renamed(table: dict[str, object]) -> dict[str, object]:
    return {_IN_SPEC.get(key, key): value for key, value in table.items()}


def _key_in_file(key: Key) -> Key:
    """Where a field of `RunSpec` stands in the file."""
    flat = key[2:] if key[:1] == ("workload",) else key  # behind the kind, of a union's members
    return tuple(_IN_FILE.get(part, part) if isinstance(part, str) else part for part in flat)


def _refuse(problems: list[Problem], source: str) -> None:
    if problems:
        raise SettingsError("\n".join(problem.line(source) for problem in problems))
