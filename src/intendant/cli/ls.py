"""`intendant ls`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import endpoint_option, json_option
from intendant.cli.session import Session
from intendant.protocol.run_states import Outcome, RunState


@click.command("ls")
@click.option("--state", "states", multiple=True, type=click.Choice(list(map(str, RunState))),
              help="Only runs in this state; may be repeated.")  # fmt: skip
@click.option("--outcome", "outcomes", multiple=True, type=click.Choice(list(map(str, Outcome))),
              help="Only runs that ended like this; may be repeated.")  # fmt: skip
@click.option("-q", "--queue", metavar="QUEUE", help="Only runs of this queue.")
@click.option("--limit", type=click.IntRange(1), help="At most so many, the newest (100).")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@json_option
@endpoint_option
@click.pass_obj
def verb(
    session: Session,
    *,
    states: tuple[str, ...],
    outcomes: tuple[str, ...],
    queue: str | None,
    limit: int | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List runs, the newest first.

    \b
    Examples:
      intendant ls
      intendant ls --state running -q gpu
      intendant ls --outcome failed --all --json
    """
    if everything and limit is not None:
        raise click.UsageError("found --limit and --all, expected one of them")
    with session.client() as client:
        found = client.runs(
            states=states, outcomes=outcomes, queue=queue,
            limit=None if everything else limit or 100,
        )  # fmt: skip
    click.echo(render.as_json(found) if as_json else render.runs(found, render.clock()))
