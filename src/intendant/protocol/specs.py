"""What a run is asked to be: the workload, its limits, its place in the queue.

A spec is what the owner may see again. What nobody may see again (the submitter's environment,
values marked secret) travels beside it in `Secrets` and is kept apart from it in the store.
"""

from __future__ import annotations

from typing import Annotated, Literal, NewType

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from intendant.protocol.environment import decode_environment
from intendant.protocol.run_states import Outcome

RunId = NewType("RunId", int)

MAX_ARGUMENT_BYTES = 131_071
"""One argument, or one `K=V` of the environment (execve(2): MAX_ARG_STRLEN, with its NUL)."""
MAX_SPEC_BYTES = 1024 * 1024
MAX_ENVIRONMENT_BYTES = 1024 * 1024
MAX_DURATION_S = 10 * 365 * 86400.0

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]
QueueName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$")]
Seconds = Annotated[float, Field(gt=0, le=MAX_DURATION_S, allow_inf_nan=False)]


class Model(BaseModel):
    """What every model on the wire has in common: immutable, closed, explicit."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _passable(text: str, what: str) -> str:
    """`text` if the kernel can take it as an argument; `ValueError` otherwise."""
    if "\0" in text:
        raise ValueError(f"{what} holds a NUL character, which no process can be given")
    size = len(text.encode())
    if size > MAX_ARGUMENT_BYTES:
        raise ValueError(f"{what} has {size} bytes; the kernel takes at most {MAX_ARGUMENT_BYTES}")
    return text


def _passable_environment(environment: dict[str, str]) -> dict[str, str]:
    for name, value in environment.items():
        if not name or "=" in name:
            raise ValueError(f"{name!r} is no name of an environment variable")
        _passable(f"{name}={value}", f"environment variable {name}")
    return environment


class CommandSpec(Model):
    """A command: its arguments, never a shell's line."""

    kind: Literal["command"]  # no default: left-out defaults must not drop the discriminator
    argv: list[str] = Field(min_length=1, description="program and arguments, passed on verbatim")
    cwd: str | None = Field(default=None, description="folder; the submitter's own when left out")
    env: dict[str, str] = Field(
        default_factory=dict, description="variables added to the submitter's environment"
    )
    umask: int | None = Field(default=None, ge=0, le=0o777, description="file mode mask")
    stdin: str | None = Field(default=None, description="file to read from; nothing when left out")

    @field_validator("argv")
    @classmethod
    def _argv_is_passable(cls, argv: list[str]) -> list[str]:
        if not argv[0]:
            raise ValueError("the program's name is empty")
        return [_passable(argument, f"argument {at}") for at, argument in enumerate(argv)]

    @field_validator("cwd", "stdin")
    @classmethod
    def _path_is_passable(cls, path: str | None) -> str | None:
        if path is not None and not path:
            raise ValueError("the path is empty")
        return None if path is None else _passable(path, "the path")

    @field_validator("env")
    @classmethod
    def _env_is_passable(cls, env: dict[str, str]) -> dict[str, str]:
        return _passable_environment(env)


Workload = CommandSpec
"""Every kind of workload; a discriminated union on `kind` as soon as there is a second one."""


class RetryPolicy(Model):
    """When a run that ended badly is queued again by itself."""

    attempts: int = Field(default=0, ge=0, le=1000, description="attempts after the first")
    on: list[Outcome] = Field(
        default_factory=lambda: [Outcome.FAILED, Outcome.TIMED_OUT], max_length=5
    )
    backoff_s: float = Field(default=1.0, ge=0, le=86400, description="wait before the second")
    backoff_max_s: float = Field(
        default=300.0, ge=0, le=86400, description="the wait doubles up to"
    )

    @field_validator("on")
    @classmethod
    def _on_is_retryable(cls, on: list[Outcome]) -> list[Outcome]:
        if wrong := {Outcome.SUCCEEDED, Outcome.CANCELLED} & set(on):
            raise ValueError(f"a run is never retried after {', '.join(sorted(wrong))}")
        return on


class RunSpec(Model):
    """One run as its owner asked for it."""

    name: Name | None = None
    queue: QueueName = "default"
    priority: int = Field(default=0, ge=-(2**31), le=2**31 - 1, description="higher starts first")
    workload: Workload
    timeout_s: Seconds | None = Field(default=None, description="longest time from start to end")
    grace_s: float = Field(
        default=3.0, ge=0, le=86400, allow_inf_nan=False, description="from SIGTERM to SIGKILL"
    )
    shutdown_grace_s: float = Field(
        default=5.0, ge=0, le=86400, allow_inf_nan=False,
        description="from the request to SIGTERM, for workloads that can be asked",
    )  # fmt: skip
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    restartable: bool = Field(default=False, description="may start again after `interrupted`")
    hold: bool = Field(default=False, description="wait in `held` until released")
    after: list[Name] = Field(
        default_factory=list,
        max_length=1000,
        description="names of runs of the same submission that must succeed first",
    )

    @property
    def kind(self) -> str:
        """The kind of the workload."""
        return self.workload.kind


def _encoded_environment(text: str) -> str:
    decode_environment(text)
    return text


EncodedEnvironment = Annotated[
    str,
    StringConstraints(max_length=MAX_ENVIRONMENT_BYTES * 4 // 3 + 4),
    AfterValidator(_encoded_environment),
]
"""Base64 of an environment: K=V entries, each ended by NUL."""


class Secrets(Model):
    """What a run needs and nobody is shown: kept out of `repr`, events, logs and replies."""

    environment: EncodedEnvironment | None = Field(
        default=None,
        repr=False,
        description="base64 of the submitter's environment, K=V entries ended by NUL; "
        "the daemon's own when left out",
    )
    env: dict[str, str] = Field(default_factory=dict, repr=False, description="secret variables")

    @field_validator("env")
    @classmethod
    def _env_is_passable(cls, env: dict[str, str]) -> dict[str, str]:
        return _passable_environment(env)


class Submission(Model):
    """One run of a submission: spec, secrets, and the key that makes sending it twice harmless."""

    spec: RunSpec
    secrets: Secrets = Field(default_factory=Secrets, repr=False)
    submission_key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


def check_dependencies(runs: list[tuple[str | None, list[str]]]) -> None:
    """Refuse unknown, ambiguous and circular `after`; each error names the run and the name."""
    names = [name for name, _ in runs if name is not None]
    parents: dict[str, list[str]] = {}
    for name, after in runs:
        who = f"run {name!r}" if name else "a run without a name"
        for parent in after:
            if parent not in names:
                raise ValueError(f"{who} comes after {parent!r}, which is no run here")
            if names.count(parent) > 1:
                raise ValueError(f"{who} comes after {parent!r}, a name that two runs have")
        if name is not None:
            parents[name] = after
    if cycle := _find_cycle(parents):
        raise ValueError(f"runs wait for each other in a circle: {' → '.join(cycle)}")


def _find_cycle(parents: dict[str, list[str]]) -> list[str] | None:
    """The first circle in the graph, its first name repeated at the end."""
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return None
