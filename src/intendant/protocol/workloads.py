"""What a run, or a step of a pipeline, does: a command, or a call of a Python function."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import to_json

from intendant.protocol.fields import Arguments, Argv, Model, PassablePath, Target, Variables

MAX_CALL_ARGUMENTS_BYTES = 256 * 1024
"""The JSON of a call's arguments: they are shown with the run, and data belongs into files."""


class CommandSpec(Model):
    """A command: its arguments, never a shell's line."""

    can_be_asked: ClassVar[bool] = False
    """Whether it takes a request to end before signals are sent."""

    kind: Literal["command"]  # no default: left-out defaults must not drop the discriminator
    argv: Argv = Field(description="program and arguments, passed on verbatim")
    cwd: PassablePath | None = Field(
        default=None, description="folder; the submitter's own when left out"
    )
    env: Variables = Field(
        default_factory=dict, description="variables added to the submitter's environment"
    )
    umask: int | None = Field(default=None, ge=0, le=0o777, description="file mode mask")
    stdin: PassablePath | None = Field(
        default=None, description="file to read from; nothing when left out"
    )
    secret_args: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list,
        max_length=1000,
        description="arguments that only the owner and operators are shown; 1 is the first",
    )

    @model_validator(mode="after")
    def _hides_what_is_there(self) -> CommandSpec:
        last = len(self.argv) - 1
        if beyond := [at for at in self.secret_args if at > last]:
            raise ValueError(
                f"secret_args: found {beyond[0]}, but the program has {last} arguments"
            )
        return self


class CallSpec(Model):
    """A call of a Python function, in an interpreter of its own.

    The function is named (`target`) and gets JSON, or it travels with its arguments as a pickle in
    the secrets, which nobody opens but the run's own process; the spec holds the digest.
    """

    can_be_asked: ClassVar[bool] = True

    kind: Literal["call"]
    target: Target | None = Field(default=None, description="`package.module:function`")
    pickle_sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="of the pickle in the secrets"
    )
    args: Arguments = Field(default_factory=list, description="by position or by name")
    map: list[Arguments] | None = Field(
        default=None, max_length=100_000, description="one call for each; the results in order"
    )
    processes: int | None = Field(
        default=None, ge=1, le=1024, description="for `map`; one for each CPU when left out"
    )
    result: Literal["json", "pickle"] = Field(default="json", description="how it is written")
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
    secret_args: list[int | str] = Field(
        default_factory=list,
        max_length=1000,
        description="arguments that only the owner and operators are shown, by position from 0 "
        "or by name",
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> CallSpec:
        if (self.target is None) == (self.pickle_sha256 is None):
            raise ValueError("a call has either a target or a pickle")
        if self.pickle_sha256 is not None and (self.args or self.map is not None):
            raise ValueError("a pickle brings its own arguments")
        if self.map is not None and self.args:
            raise ValueError("args and map exclude each other")
        if self.processes is not None and self.map is None:
            raise ValueError("processes are for map")
        size = len(to_json([self.args, self.map])) if self.args or self.map else 0
        if size > MAX_CALL_ARGUMENTS_BYTES:
            raise ValueError(
                f"the arguments have {size} bytes as JSON; at most {MAX_CALL_ARGUMENTS_BYTES} "
                "are taken: let the call read a file"
            )
        return self
