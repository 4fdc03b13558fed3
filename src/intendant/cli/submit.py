"""`intendant submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from intendant.cli import completion, exit_status, render
from intendant.cli.await_runs import Awaited, await_runs, let_go, say_why
from intendant.cli.parameters import (
    PRIORITY,
    ArgvCommand,
    JsonArguments,
    Text,
    Whole,
    argv_of,
    endpoint_option,
    json_option,
)
from intendant.cli.queued import doubt_told, named_in_any_case
from intendant.cli.resuming import answer_of, resume_option
from intendant.cli.run_options import given_options, run_options
from intendant.cli.session import Session
from intendant.client.call import Call, CallArguments, is_target
from intendant.client.client import Client
from intendant.client.command import Command, RunOptions
from intendant.client.run import Run

_OF_ANY_SUBMISSION = ("file", "key", "resume", "wait", "as_json")


@click.command("submit", cls=ArgvCommand, options_metavar="[OPTIONS]")
@click.argument("file", required=False, metavar="(FILE | MODULE:FUNCTION | -- ARGV...)",
                shell_complete=completion.file)  # fmt: skip
@click.option("--args", "call_args", type=JsonArguments(),
              help="Arguments of the function: a list, or an object by name.")  # fmt: skip
@run_options
@click.option("-q", "--queue", metavar="QUEUE", shell_complete=completion.queue,
              help="The queue (default).")  # fmt: skip
@click.option("--priority", type=PRIORITY, help="Higher starts first (0).")
@click.option("--hold", is_flag=True, help="Do not start before it is released.")
@click.option("--secret-arg", "secret_args", metavar="N", type=Whole(1), multiple=True,
              help="Show the N-th argument, from 1, to the owner alone; repeatable.")  # fmt: skip
@click.option("--key", metavar="K", type=Text(), help="The same key again gives the same run.")
@resume_option
@click.option("--wait", is_flag=True, help="Wait for the end; the exit status is the run's.")
@json_option
@endpoint_option
@click.pass_context
def verb(
    ctx: click.Context,
    /,
    *,
    file: str | None,
    call_args: CallArguments | None,
    secret_args: tuple[int, ...],
    key: str | None,
    resume: bool | None,
    secret_env: dict[str, str],
    wait: bool,
    as_json: bool,
    **options: Unpack[RunOptions],
) -> int:
    """Queue a command, a Python function, or the runs of a file; prints their ids.

    \b
    Examples:
      intendant submit -- make -j4 all
      intendant submit lab.models:fit --args '{"rate": 0.1}'
      intendant submit -n train --timeout 2h --retry 2 -- python train.py
      intendant submit nightly.toml --wait
    """
    what = _one_run(ctx, file, call_args, secret_args)
    session: Session = ctx.obj
    with session.client() as client:
        if what is not None:
            with doubt_told():
                submitted = [client.submit(what, key=key, secret_env=secret_env, **options)]
        else:
            submitted = _submit_file(ctx, client, file, key=key, resume=resume)
        with named_in_any_case([run.id for run in submitted]):
            return _follow_up(
                client, submitted, is_one=what is not None, wait=wait, as_json=as_json
            )


def _one_run(
    ctx: click.Context,
    file: str | None,
    call_args: CallArguments | None,
    secret_args: tuple[int, ...],
) -> Command | Call | None:
    """The command or the function on the command line; None where there is a file instead."""
    argv = argv_of(ctx)
    if argv is not None and file is not None:
        raise click.UsageError(f"found {file!r} before --, expected options alone", ctx)
    if argv is None and secret_args:
        raise click.UsageError("found --secret-arg, expected it with a command", ctx)
    if file is not None and is_target(file) and not Path(file).exists():
        return Call(file, args=call_args or ())
    if argv is not None and call_args is not None:
        raise click.UsageError("found --args with a command, expected them behind --", ctx)
    beyond = [at for at in secret_args if argv is not None and at >= len(argv)]
    if argv is not None and beyond:
        found = f"found --secret-arg {beyond[0]}, but {len(argv) - 1} arguments"
        raise click.UsageError(
            f"{found} behind {argv[0]!r}, expected one of them: 1 is the first", ctx
        )
    return None if argv is None else Command(argv, secret_args=secret_args)


def _submit_file(
    ctx: click.Context, client: Client, file: str | None, *, key: str | None, resume: bool | None
) -> list[Run]:
    """Queue the runs of a file, in which each says for itself what the options say of a command."""
    from intendant.cli.runfiles import load_run_file

    if file is None:
        raise click.UsageError("found no command, expected a run file or -- ARGV", ctx)
    if found := given_options(ctx, besides=_OF_ANY_SUBMISSION):
        raise click.UsageError(f"found {found} with a run file, expected it inside the file", ctx)
    specs = load_run_file(Path(file), answer_of(resume))
    with doubt_told():
        return client.submit_all(specs, key=key)


def _follow_up(
    client: Client, submitted: list[Run], *, is_one: bool, wait: bool, as_json: bool
) -> int:
    """Print the ids at once, or the runs as they are after what was asked for."""
    ids = [run.id for run in submitted]
    try:
        if not as_json:
            click.echo("\n".join(map(str, ids)))
        awaited = await_runs(client, ids) if wait else Awaited(exit_status.DONE)
    except KeyboardInterrupt as interrupt:  # in the instant before the waiting begins
        raise let_go(interrupt, ids, {}) from None
    if not as_json:
        say_why(awaited.runs)
        return awaited.status
    found = awaited.runs if wait else client.runs(selection=ids, limit=None)[::-1]
    if found:
        click.echo(render.as_json(found[0] if is_one else found))
    return awaited.status
