"""The command `intendant`: finds the verb, runs it, turns every error into text and a status.

A verb's module is imported when the verb is used, so that `ls` does not pay for `run`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from intendant import __version__
from intendant.cli import exit_status
from intendant.cli.escapes import visible
from intendant.cli.parameters import endpoint_option
from intendant.cli.session import Session
from intendant.cli.standard_streams import give_up_stdout
from intendant.errors import IntendantError

VERBS = (
    "serve", "run", "submit", "ls", "show", "explain", "wait", "logs", "result", "events", "cancel",
    "hold", "release", "priority", "retry", "rerun", "plan", "report", "queue", "status",
    "shutdown", "prune", "fsck", "trial", "backup", "broker", "keygen",
)  # fmt: skip
"""In the order of `--help`; each is the attribute `verb` of the module with its name."""


_ELSEWHERE = {
    "add": "submit", "enqueue": "submit", "start": "serve", "daemon": "serve", "list": "ls",
    "ps": "ls", "jobs": "ls", "info": "show", "stop": "cancel", "kill": "cancel", "abort": "cancel",
    "follow": "logs", "tail": "logs", "cat": "logs", "output": "logs", "restart": "retry",
    "pause": "hold", "resume": "release", "unhold": "release", "clean": "prune", "rm": "prune",
    "why": "explain", "quit": "shutdown",
}  # fmt: skip
"""What tools of this kind call our verbs."""


class Verbs(click.Group):
    """A group that imports a verb when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        verb = import_module(f"intendant.cli.{cmd_name}").verb
        return verb if isinstance(verb, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb and its arguments; of what is none, the verb that may have been meant."""
        if args[0] not in VERBS and not (args[0].startswith("-") or ctx.resilient_parsing):
            ctx.fail(f"found {args[0]!r}, expected {_meant(args[0])}")
        return super().resolve_command(ctx, args)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the command line, which prints what `--help` asks for."""
        with _past_click():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Carry out the verb."""
        with _past_click():
            status = super().invoke(ctx)
            sys.stdout.flush()  # while it can still be said that nobody takes it
        return status


class _ReaderGone(Exception):
    """Nobody reads our stdout any more; its cause is the error that told so."""


@contextmanager
def _past_click() -> Iterator[None]:
    """When the reader has gone, click would end the process by itself, and with another status."""
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGone from error


def _meant(word: str) -> str:
    from difflib import get_close_matches  # most words are verbs

    near = get_close_matches(word, VERBS, n=1) or _ELSEWHERE.get(word, "").split()
    return f"'intendant {near[0]}' perhaps" if near else "a verb: 'intendant --help' lists them"


_ASKS_FOR_COMPLETION = "_INTENDANT_COMPLETE"
_COMPLETION = """\b
Completion for your shell, in its start-up file:
  bash   eval "$(_INTENDANT_COMPLETE=bash_source intendant)"
  zsh    autoload -Uz compinit && compinit    # unless it is there already
         eval "$(_INTENDANT_COMPLETE=zsh_source intendant)"
  fish   _INTENDANT_COMPLETE=fish_source intendant | source
"""


@click.group(
    cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_COMPLETION
)
@click.version_option(__version__, prog_name="intendant")
@endpoint_option
def intendant() -> None:
    """Queue runs, watch over them, see how they ended."""


def run(args: Sequence[str], session: Session) -> int:
    """Carry out a command line; the exit status.

    Notes of an error (PEP 678) are for the user: they say what was done all the same.
    """
    if _ASKS_FOR_COMPLETION in session.environ:
        from intendant.cli import shells  # most command lines come from a person

        shells.register()
    wants_json = "--json" in _before_argv(args)
    try:
        status = intendant.main(
            list(args), prog_name="intendant", standalone_mode=False, obj=session
        )
    except (_ReaderGone, click.Abort) as error:
        return _ended(error.__cause__ or error, wants_json=wants_json)
    except (click.UsageError, KeyboardInterrupt, IntendantError, OSError) as error:
        return _ended(error, wants_json=wants_json)
    return status if isinstance(status, int) else exit_status.DONE


def _ended(error: BaseException, *, wants_json: bool) -> int:
    """Say what ended a verb, as text or as one object; its status."""
    status, code, message = _meaning(error)
    said = [*getattr(error, "__notes__", []), *([message] if message else [])]
    try:
        if wants_json and said:
            told = {"error": {"code": code, "message": "; ".join(said)}}
            click.echo(json.dumps(told), err=True)
        elif isinstance(error, click.UsageError):
            error.show()
        else:
            for text in said:
                lines = "\n".join(map(visible, text.splitlines()))
                click.echo(f"intendant: {lines}", err=True)
    except BrokenPipeError:
        status = exit_status.READER_GONE
    except OSError:  # stderr is as full as stdout may be
        pass
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        give_up_stdout()
    return status


def _meaning(error: BaseException) -> tuple[int, str, str]:
    """The status, the stable word and what is said of an error; who was interrupted knows."""
    match error:
        case click.UsageError():
            return exit_status.USAGE, "usage", error.format_message()
        case BrokenPipeError():
            return exit_status.READER_GONE, "reader_gone", ""
        case IntendantError() | TimeoutError():
            message = str(error) or type(error).__name__
        case OSError():
            message = exit_status.text_of(error)
        case _:
            return exit_status.CANCELLED, "interrupted", ""
    return exit_status.of_error(error), exit_status.code_of_error(error), message


def _before_argv(args: Sequence[str]) -> Sequence[str]:
    return args[: args.index("--")] if "--" in args else args
