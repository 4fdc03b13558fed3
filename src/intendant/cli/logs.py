"""`intendant logs`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from intendant.cli import completion, render
from intendant.cli.await_runs import gone
from intendant.cli.events import print_each
from intendant.cli.parameters import (
    ALL_RUNS,
    Whole,
    endpoint_option,
    json_option,
    one_run,
    runs_argument,
)
from intendant.cli.session import Session
from intendant.cli.sink import copy_log
from intendant.cli.standard_streams import end_with_the_reader
from intendant.client.client import Client
from intendant.client.run import Stream
from intendant.errors import DaemonLost

_LEVELS = ["debug", "info", "warning", "error"]
_OF_ONE_RUN = {"of_stderr": "--stderr", "attempt": "--attempt", "step": "--step",
               "state_dir": "--state-dir"}  # fmt: skip
_OF_THE_SYSTEM = {"level": "--level", "as_json": "--json"}


@click.command("logs", epilog=ALL_RUNS)
@runs_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--stderr", "of_stderr", is_flag=True, help="Its stderr instead of its stdout.")
@click.option("--attempt", type=Whole(1), help="This attempt's; the newest if left out.")
@click.option("--step", metavar="STEP", shell_complete=completion.step,
              help="Of a pipeline: what this step has written; --attempt is its own.")  # fmt: skip
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Read it from this folder; needs no daemon.")  # fmt: skip
@click.option("--system", is_flag=True, help="What the daemon and the runs' governors have logged.")
@click.option("--level", type=click.Choice(_LEVELS),
              help="With --system: this level and what is above it (debug).")  # fmt: skip
@json_option
@endpoint_option
@click.pass_context
def verb(
    ctx: click.Context,
    /,
    *,
    selection: list[str],
    follow: bool,
    of_stderr: bool,
    attempt: int | None,
    step: str | None,
    state_dir: Path | None,
    system: bool,
    level: str | None,
    as_json: bool,
) -> None:
    """Print what a run has written, or what became of it behind the scenes.

    With --system the daemon's own log and those of the governors are put together by time: of the
    runs that are named, or of all that are live or recent. With -f that goes on for ever.

    \b
    Examples:
      intendant logs 17
      intendant logs -f last
      intendant logs --stderr --attempt 1 17 > errors.txt
      intendant logs -f 17 --step parse --stderr
      intendant logs --system -f --level warning
    """
    _refuse_mixed(ctx, _OF_ONE_RUN if system else _OF_THE_SYSTEM)
    if follow:
        end_with_the_reader()
    if system:
        session: Session = ctx.obj
        with session.client() as client:
            lines = client.system_log(selection, level=level or "debug", follow=follow)
            print_each(lines, render.log_line, as_json=as_json, follow=follow)
        return
    run = one_run(ctx, selection)
    stream: Stream = "stderr" if of_stderr else "stdout"
    if state_dir is None:
        _copy(ctx.obj, run, follow=follow, stream=stream, attempt=attempt, step=step)
    elif follow:
        raise click.UsageError("found --follow with --state-dir, expected it without", ctx)
    else:
        from intendant.cli.kept_logs import kept_log

        copy_log(kept_log(state_dir, run, stream=stream, attempt=attempt, step=step), sys.stdout)


def _copy(
    session: Session,
    run: str,
    *,
    follow: bool,
    stream: Stream,
    attempt: int | None,
    step: str | None,
) -> None:
    with session.client() as client:
        try:
            pieces = client.logs(run, follow=follow, stream=stream, attempt=attempt, step=step)
            size = copy_log(pieces, sys.stdout)
        except DaemonLost as error:
            raise gone(error, f"logs {'-f ' if follow else ''}{run}") from error
        if size == 0 and step is None:
            _say_where_steps_write(client, run)


def _say_where_steps_write(client: Client, run: str) -> None:
    """A pipeline itself writes little."""
    info = client.show(run)["run"]
    if info["kind"] == "pipeline":
        steps = f"'intendant show {info['id']} --steps' lists them"
        look = f"intendant logs {info['id']} --step NAME"
        click.echo(f"intendant: what a step wrote: {look}; {steps}", err=True)


def _refuse_mixed(ctx: click.Context, others: dict[str, str]) -> None:
    """The options that make sense only with --system, or only without it."""
    found = [option for name, option in others.items() if ctx.params[name]]
    if found and others is _OF_ONE_RUN:
        raise click.UsageError(f"found {found[0]} with --system, expected it without", ctx)
    if found:
        raise click.UsageError(f"found {found[0]}, expected it with --system", ctx)
