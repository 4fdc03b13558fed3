"""`intendant wait`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.await_runs import await_runs, say_why
from intendant.cli.parameters import (
    ALL_RUNS,
    Duration,
    endpoint_option,
    json_option,
    selection_argument,
)
from intendant.cli.session import Session


@click.command("wait", epilog=ALL_RUNS)
@selection_argument
@click.option("--any", "any_of_them", is_flag=True, help="The first that ends is enough.")
@click.option("--timeout", "timeout_s", type=Duration(), help="Give up after this long (75).")
@json_option
@endpoint_option
@click.pass_obj
def verb(
    session: Session,
    *,
    selection: list[str],
    any_of_them: bool,
    timeout_s: float | None,
    as_json: bool,
) -> int:
    """Wait until runs have ended; the exit status is theirs.

    \b
    Examples:
      intendant wait 17
      intendant wait 3,5-8 --timeout 10m
      intendant wait 17 18 --any --json
    """
    with session.client() as client:
        awaited = await_runs(client, selection, any=any_of_them, timeout_s=timeout_s, steps=True)
    if not as_json:
        say_why(awaited.runs)
    elif awaited.runs:
        is_one = len(awaited.runs) == 1
        click.echo(render.as_json(awaited.runs[0] if is_one else awaited.runs))
    return awaited.status
