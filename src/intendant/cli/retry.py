"""`intendant retry`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from intendant.cli import render
from intendant.cli.parameters import (
    SEVERAL_RUNS,
    Parameter,
    endpoint_option,
    json_option,
    selection_argument,
)
from intendant.cli.queued import doubt_told, named_in_any_case
from intendant.cli.session import Session
from intendant.client.shapes import Continuing


@click.command("retry", epilog=SEVERAL_RUNS)
@selection_argument
@click.option("--continue", "goes_on", is_flag=True,
              help="Of pipelines: keep the steps that were done.")  # fmt: skip
@click.option("--set", "parameters", multiple=True, type=Parameter(),
              help="With --continue, a parameter of the pipeline, or STEP:NAME=VALUE. The "
                   "value is JSON; a text needs no quotes unless it begins like JSON.")  # fmt: skip
@json_option
@endpoint_option
@click.pass_context
def verb(
    ctx: click.Context,
    /,
    *,
    selection: list[str],
    goes_on: bool,
    parameters: tuple[tuple[str | None, str, object], ...],
    as_json: bool,
) -> None:
    """Queue runs that have ended anew; prints the ids of the new runs.

    A new run has the spec, the folder and the environment of the old one, and names it. Of runs
    that are tried again together, each waits for the new ones of those it came after. A pipeline
    that goes on keeps the steps that were done, and runs the others.

    \b
    Examples:
      intendant retry 17
      intendant retry 3,5-8
      intendant retry --continue 17
      intendant retry --continue --set top=20 --set merge:rate=0.5 17
      intendant wait $(intendant retry last)
    """
    if parameters and not goes_on:
        raise click.UsageError("found --set, expected --continue with it", ctx)
    queue_anew(ctx.obj, selection, continuing(parameters) if goes_on else None, as_json=as_json)


def queue_anew(
    session: Session, selection: list[str], continuing: Continuing | None, *, as_json: bool
) -> None:
    """Queue the runs, and print the new ones."""
    with session.client() as client:
        with doubt_told():
            ids = [run.id for run in client.retry(selection, continuing=continuing)]
        with named_in_any_case(ids):
            if as_json:
                click.echo(render.as_json(client.runs(selection=ids, limit=None)[::-1]))
                return
            for run_id in ids:
                click.echo(run_id)


def continuing(
    parameters: Sequence[tuple[str | None, str, object]], *, rerun: Sequence[str] = ()
) -> Continuing:
    """How pipelines go on, from what was said on the command line."""
    order: Continuing = {"rerun": list(rerun), "parameters": {}, "step_parameters": {}}
    for step, name, value in parameters:
        if step is None:
            order["parameters"][name] = value
        else:
            order["step_parameters"].setdefault(step, {})[name] = value
    return order
