"""What specs and messages are made of: the model they share, and fields that several have."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
)

from intendant.problems import QUEUE_NAME, InWords
from intendant.protocol.run_states import Outcome
from intendant.protocol.selectors import MAX_RUN_ID

MAX_ARGUMENT_BYTES = 131_071
"""One argument, or one `K=V` of the environment (execve(2): MAX_ARG_STRLEN, with its NUL)."""
MAX_DURATION_S = 10 * 365 * 86400.0

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
    InWords("1 to 200 characters on one line"),
]
QueueName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$"), QUEUE_NAME
]
Seconds = Annotated[float, Field(gt=0, le=MAX_DURATION_S, allow_inf_nan=False)]
Priority = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
KnownRun = Annotated[int, Field(ge=1, le=MAX_RUN_ID)]
"""The id of a run."""
Place = Annotated[int, Field(ge=0, le=MAX_RUN_ID)]
"""How far a reader has got: an offset, or the id of a row."""


NEW = {"is_new": True}
"""The context in which something is validated that nobody has taken yet. Only there may a version
ask for more than an earlier one did: what is stored must stay readable."""

HANDED_ON = {"is_handed_on": True}
"""The context in which something is validated that was sound as a whole when it was taken, and
will be looked at as a whole again by whoever carries it out."""


class Model(BaseModel):
    """What every model on the wire has in common: immutable, closed, explicit.

    Most processes use few of them, so each is built when it is first used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


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


def _passable_path(path: str) -> str:
    if not path:
        raise ValueError("the path is empty")
    return _passable(path, "the path")


def _passable_argv(argv: list[str]) -> list[str]:
    if not argv[0]:
        raise ValueError("the program's name is empty")
    return [_passable(argument, f"argument {at}") for at, argument in enumerate(argv)]


Argv = Annotated[list[str], Field(min_length=1), AfterValidator(_passable_argv)]
PassablePath = Annotated[str, AfterValidator(_passable_path)]
Variables = Annotated[dict[str, str], AfterValidator(_passable_environment)]

_NAMES = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
Target = Annotated[
    str,
    StringConstraints(max_length=1000, pattern=f"^{_NAMES}:{_NAMES}$"),
    InWords("a function as package.module:function"),
]


def _arguments(value: object) -> object:
    """Said before the union's members complain one by one."""
    if not isinstance(value, list | dict):
        raise ValueError("expected a list or a table")  # noqa: TRY004  what pydantic catches
    return value


Arguments = Annotated[list[JsonValue] | dict[str, JsonValue], BeforeValidator(_arguments)]
"""Of one call: by position, or by name."""


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

    def __eq__(self, other: object) -> bool:
        """Most steps of a pipeline share one, which is asked at each writing of its spec."""
        return self is other or super().__eq__(other)

    @field_validator("on")
    @classmethod
    def _on_is_retryable(cls, on: list[Outcome]) -> list[Outcome]:
        if wrong := {Outcome.SUCCEEDED, Outcome.CANCELLED} & set(on):
            raise ValueError(f"a run is never retried after {', '.join(sorted(wrong))}")
        return on
