"""What a shell completes besides verbs and options: runs, queues, steps, variables, commands.

The daemon is asked, and waited for no longer than a person does at a key. Where none answers,
nothing is offered and nothing is said: it would be in the middle of somebody's command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import click

from intendant.cli.escapes import visible
from intendant.cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from intendant.client.client import Client
    from intendant.client.shapes import RunInfo

    Offers = list[CompletionItem[str]]

_PATIENCE_S = 1.0
_RUNS = 100
_COMMANDS = 1000
_NOT_ENDED = ("held", "queued", "starting", "running", "stopping")
_STATES = {
    "cancel": _NOT_ENDED, "wait": _NOT_ENDED, "hold": ("queued",), "release": ("held",),
    "priority": ("held", "queued"), "retry": ("ended",), "rerun": ("ended",), "prune": ("ended",),
}  # fmt: skip
"""Which runs a verb has a use for; the other verbs are about any."""

_LAST = ("last", "the newest run")

T = TypeVar("T")


def run(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:
    """The id of one run, the newest first; in an argument also `last`."""
    words = [_LAST] if isinstance(param, click.Argument) else []
    return _matching(incomplete, [*_runs(ctx), *words])


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:
    """Ids of runs, also in a list such as `1,3`; none twice."""
    before, comma, _ = incomplete.rpartition(",")
    named = ",".join([before, *(ctx.params.get(str(param.name)) or ())]).split(",")
    offers = [one for one in [*_runs(ctx), _LAST, ("all", "all runs")] if one[0] not in named]
    return _matching(incomplete, [(f"{before}{comma}{name}", text) for name, text in offers])


def queue(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Offers:
    """The name of a queue."""
    found = _asked(ctx, lambda client: client.queues()) or []
    return _matching(
        incomplete,
        [(one["name"], f"{'paused, ' * one['paused']}{one['queued']} queued") for one in found],
    )


def step(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Offers:
    """The name of a step of the run that has been named before."""
    chosen = ctx.args  # not parsed into arguments, as the option still has no value
    found = _asked(ctx, lambda client: client.steps(chosen)) if chosen else None
    return _matching(
        incomplete, [(one["name"], one.get("outcome") or one["state"]) for one in found or []]
    )


def variable(ctx: click.Context, incomplete: str) -> Offers:
    """The name of a variable that is set here."""
    session = ctx.find_object(Session)
    return _matching(
        incomplete, [(name, "") for name in sorted(session.environ if session else ())]
    )


def file(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Offers:
    """A file; the shell knows how."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def folder(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Offers:
    """A folder; the shell knows how."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


def program(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:
    """A program on the PATH, or else a file."""
    named = _programs(ctx, incomplete) if incomplete and "/" not in incomplete else []
    return _matching(incomplete, [(name, "") for name in named]) or file(ctx, param, incomplete)


def _runs(ctx: click.Context) -> list[tuple[str, str]]:
    """The runs that the verb may be about, and what each of them is."""
    states = _STATES.get(str(ctx.command.name), ())
    found = _asked(ctx, lambda client: client.runs(states=states, limit=_RUNS)) or []
    return [(str(one["id"]), _described(one)) for one in found]


def _described(run: RunInfo) -> str:
    standing = run["outcome"] or run["state"]
    return f"{visible(run['name'])} ({standing})" if run["name"] else standing


def _asked(ctx: click.Context, question: Callable[[Client], T]) -> T | None:
    """The daemon's answer, or none."""
    from intendant.errors import IntendantError

    session = ctx.find_object(Session)
    if session is None:
        return None
    try:
        with session.client(timeout_s=_PATIENCE_S) as client:
            return question(client)
    except (IntendantError, OSError):  # OSError: TimeoutError too
        return None


def _matching(incomplete: str, offers: Iterable[tuple[str, str]]) -> Offers:
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(name, help=text or None)
        for name, text in offers
        if name.startswith(incomplete)
    ]


def _programs(ctx: click.Context, begun: str) -> list[str]:
    session = ctx.find_object(Session)
    found: set[str] = set()
    for directory in (session.environ.get("PATH", "") if session else "").split(os.pathsep):
        try:
            with os.scandir(directory or ".") as entries:
                found.update(
                    one.name
                    for one in entries
                    if one.name.startswith(begun) and os.access(one.path, os.X_OK)
                )
        except OSError:
            continue
    return sorted(found)[:_COMMANDS]
