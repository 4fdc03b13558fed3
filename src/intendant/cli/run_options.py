"""What can be said of one run on a command line: the same for `submit` and for `run`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from intendant.cli import completion
from intendant.cli.parameters import Duration, Verb, Whole
from intendant.cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_MAX_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Variable(click.ParamType[tuple[str, str]]):
    """One variable of an environment, `K=V`; or `K` alone, its value the one that it has here."""

    def __init__(self, *, may_be_here: bool = False) -> None:
        self._may_be_here = may_be_here
        self.name = "K[=V]" if may_be_here else "K=V"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002  click's signature
        incomplete: str,
    ) -> list[CompletionItem[str]]:
        """The names that have a value here."""
        return completion.variable(ctx, incomplete)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if name and equals:
            return name, text
        if not (name and self._may_be_here and ctx):
            self.fail(f"found {value!r}, expected {self.name}", param, ctx)
        here = ctx.find_object(Session)
        if here is None or name not in here.environ:
            self.fail(
                f"found no variable {name!r} here, expected K=V or one that is set", param, ctx
            )
        return name, here.environ[name]


class RunName(click.ParamType[str]):
    """What `protocol.fields.Name` takes."""

    name = "NAME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        if not 1 <= len(text) <= _MAX_NAME or _CONTROL.search(text):
            expected = f"1 to {_MAX_NAME} characters on one line"
            self.fail(f"found {text[:_MAX_NAME]!r}, expected {expected}", param, ctx)
        return text


class CommandLine(click.ParamType[list[str]]):
    """A command as one text, split as a shell would; no shell runs it."""

    name = "COMMAND"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        try:
            argv = shlex.split(str(value))
        except ValueError as error:
            self.fail(f"found {value!r}, expected a command: {error}", param, ctx)
        if not argv:
            self.fail("found nothing, expected a command", param, ctx)
        return argv


def _as_mapping(
    ctx: click.Context,  # noqa: ARG001  click's signature
    param: click.Parameter,  # noqa: ARG001
    value: Sequence[tuple[str, str]],
) -> dict[str, str]:
    return dict(value)


_OPTIONS = (
    click.option("-n", "--name", type=RunName(), help="A name that people know it by."),
    click.option("--timeout", "timeout_s", type=Duration(), help="Longest time from start to end."),
    click.option("--grace", "grace_s", type=Duration(may_be_zero=True),
                 help="From SIGTERM to SIGKILL (3s)."),
    click.option("--retry", type=Whole(0, 1000),
                 help="Attempts after failure or time-out."),
    click.option("--restartable", is_flag=True,
                 help="Start again also after an interruption (3 times)."),
    click.option("--env", multiple=True, type=Variable(), callback=_as_mapping,
                 help="A variable; may be repeated."),
    click.option("--secret-env", multiple=True, type=Variable(may_be_here=True),
                 callback=_as_mapping,
                 help="One that is never shown; without =V the value that it has here, which "
                      "keeps it out of sight of 'ps' too."),
    click.option("--cwd", metavar="D", shell_complete=completion.folder,
                 help="The folder (this one)."),
    click.option("--on-end", type=CommandLine(),
                 help="A command to run when it has ended; reads the run as JSON. "
                      "No shell reads it; for one: \"sh -c '...'\"."),
)  # fmt: skip


def run_options(verb: Verb) -> Verb:
    """The options of one run, wherever it runs; `RunOptions` and `secret_env`."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


def given_options(ctx: click.Context, *, besides: Collection[str]) -> str:
    """The options on the command line, as typed there, but for `besides`; "" if there are none."""
    return ", ".join(
        parameter.opts[-1]
        for parameter in ctx.command.params
        if parameter.name not in besides
        and ctx.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    )
