"""Kinds of arguments: durations, selectors, JSON, and what stands behind `--`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from intendant.cli import completion
from intendant.cli.session import Session

if TYPE_CHECKING:
    from intendant.protocol.selectors import Selection

_ARGV = "intendant.argv"
_SHOWN = 40
_MOST = 2**63 - 1
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_MAX_DURATION_S = 10 * 365 * 86400.0

ONE_RUN = "A run is named by its id, or as last: the one that was queued last."
SEVERAL_RUNS = "Runs are named by their ids, 17 or 1,3,5-8; last is the one that was queued last."
ALL_RUNS = f"{SEVERAL_RUNS[:-1]}, all are those that the verb can be about."
"""How verbs that take runs say it in their help; `protocol.selectors` reads it."""

Verb = TypeVar("Verb", bound=Callable[..., object])


class Whole(click.IntRange):
    """A whole number in ASCII digits, within bounds; 64 bits hold it in any case.

    Python's own int() takes `1_000`, and the digits of every script.
    """

    def __init__(self, min: int = -_MOST, max: int = _MOST) -> None:
        super().__init__(min if min > -_MOST else None, max if max < _MOST else None)
        self._least, self._most = min, max

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (_WHOLE.fullmatch(text) and self._least <= int(text) <= self._most):
            self.fail(f"found {text[:_SHOWN]!r}, expected {self._expected}", param, ctx)
        return int(text)

    @property
    def _expected(self) -> str:
        low = f" from {self._least}" if self._least > -_MOST else ""
        return f"a whole number{low}" + (f" to {self._most}" if self._most < _MOST else "")


PRIORITY = Whole(-(2**31), 2**31 - 1)


class Duration(click.ParamType[float]):
    """Seconds, from `90`, `1.5s`, `2m`, `3h` or `1d`."""

    name = "DUR"

    def __init__(self, *, may_be_zero: bool = False) -> None:
        self._may_be_zero = may_be_zero

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        from intendant.protocol.durations import parse_duration

        try:
            duration_s = parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if duration_s > _MAX_DURATION_S:
            self.fail(f"found {value}, expected at most 3650d", param, ctx)
        if not duration_s and not self._may_be_zero:
            self.fail(f"found {value}, expected more than 0", param, ctx)
        return duration_s


class Parameter(click.ParamType[tuple[str | None, str, object]]):
    """A parameter of a pipeline, `NAME=VALUE`, or of one of its steps, `STEP:NAME=VALUE`.

    The value is JSON; a text needs no quotes, unless it begins like JSON.
    """

    name = "NAME=VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, str, object]:
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        step, colon, name = key.rpartition(":")
        if not (name and equals) or (colon and not step):
            self.fail(f"found {value!r}, expected NAME=VALUE or STEP:NAME=VALUE", param, ctx)
        try:
            return step or None, name, parse_json(text)
        except ValueError as error:
            if text.startswith(("[", "{", '"')):
                self.fail(f"found {value!r}, expected JSON, or a text: {error}", param, ctx)
            return step or None, name, text


def parse_json(text: str) -> object:
    """What JSON says (RFC 8259); `ValueError`, too, for what Python alone takes: NaN, 1e400."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:_SHOWN]} is no number of JSON's")
    return number


class JsonArguments(click.ParamType[list[object] | dict[str, object]]):
    """Arguments of a function as JSON: a list, or an object."""

    name = "JSON"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[object] | dict[str, object]:
        try:
            arguments = parse_json(str(value))
        except ValueError as error:
            self.fail(f"found no JSON: {error}", param, ctx)
        if not isinstance(arguments, list | dict):
            self.fail(f"found {value}, expected a list or an object", param, ctx)
        return arguments


class Text(click.ParamType[str]):
    """A text that is not empty."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail("found '', expected a text that is not empty", param, ctx)
        return value


class ArgvCommand(click.Command):
    """A verb whose arguments behind the first `--` are a command, to be passed on verbatim."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            return super().parse_args(ctx, args)
        at = args.index("--")
        rest = super().parse_args(ctx, args[:at])
        ctx.meta[_ARGV] = args[at + 1 :]
        return rest

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """What can be said; to a shell that completes a word behind `--`, that word alone."""
        if not (ctx.resilient_parsing and _ARGV in ctx.meta):
            return super().get_params(ctx)
        complete = completion.file if ctx.meta[_ARGV] else completion.program
        return [click.Argument(["argv"], nargs=-1, shell_complete=complete)]


def argv_of(ctx: click.Context) -> list[str] | None:
    """What stands behind `--`; None where there is no `--`."""
    argv: list[str] | None = ctx.meta.get(_ARGV)
    if argv is not None and not (argv and argv[0]):
        raise click.UsageError("found nothing behind --, expected a command", ctx)
    return argv


def selection_argument(verb: Verb) -> Verb:
    """ID…: one run or several."""
    return click.argument(
        "selection", metavar="ID...", nargs=-1, required=True, callback=_check_selection,
        shell_complete=completion.runs,
    )(verb)  # fmt: skip


def runs_argument(verb: Verb) -> Verb:
    """[ID…]: the runs that are meant; all of them if none is named."""
    return click.argument(
        "selection", metavar="[ID]...", nargs=-1, callback=_check_some,
        shell_complete=completion.runs,
    )(verb)  # fmt: skip


def one_run(ctx: click.Context, selection: Sequence[str]) -> str:
    """The one run that `[ID…]` must be, where it is not anything else."""
    if not selection:
        raise click.UsageError("found no run, expected an ID", ctx)
    [param] = [one for one in ctx.command.params if one.name == "selection"]
    return _check_one(ctx, param, ",".join(selection))


def run_argument(verb: Verb) -> Verb:
    """ID: exactly one run."""
    return click.argument(
        "selection", metavar="ID", callback=_check_one, shell_complete=completion.run
    )(verb)


def json_option(verb: Verb) -> Verb:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")(verb)


def endpoint_option(verb: Verb) -> Verb:
    """--endpoint and the keys for it, before the verb or behind it."""
    options = (
        click.option("--endpoint", metavar="URI", expose_value=False, callback=_keep,
                     help="Where the daemon answers: ipc://PATH or tcp://HOST:PORT."),
        click.option("--key-file", metavar="FILE", expose_value=False, callback=_keep,
                     shell_complete=completion.file,
                     help="For tcp: your secret key, made by 'intendant keygen'."),
        click.option("--server-key", metavar="KEY", expose_value=False, callback=_keep,
                     help="For tcp: the daemon's public key."),
    )  # fmt: skip
    for option in reversed(options):
        verb = option(verb)
    return verb


def _keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Note in the session what was said of the daemon."""
    if value is None:
        return
    if param.name == "endpoint" and not value.startswith(("ipc://", "tcp://")):
        _refuse(f"found {value!r}, expected ipc://PATH or tcp://HOST:PORT", ctx, param)
    if param.name == "key_file":
        value = str(Path(value).absolute())
    session = ctx.find_object(Session)
    if session is not None and param.name is not None:
        setattr(session, param.name, value)


def _check_selection(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    _parse(ctx, param, value)
    return list(value)


def _check_some(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    return _check_selection(ctx, param, value) if value else []


def _check_one(ctx: click.Context, param: click.Parameter, value: str) -> str:
    selection = _parse(ctx, param, [value])
    if selection.all or selection.ranges or len(selection.ids) + selection.last != 1:
        _refuse(f"found {value!r}, expected one run: an id or last", ctx, param)
    return value


def _parse(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> Selection:
    from intendant.protocol.selectors import parse_selection  # not every verb is about runs

    try:
        return parse_selection(list(value))
    except ValueError as error:
        _refuse(str(error), ctx, param)


def _refuse(message: str, ctx: click.Context, param: click.Parameter) -> NoReturn:
    raise click.BadParameter(message, ctx, param)
