"""`intendant ls`."""

from __future__ import annotations

import click

from intendant.cli import completion, render
from intendant.cli.parameters import Whole, endpoint_option, json_option
from intendant.cli.session import Session
from intendant.protocol.run_states import Outcome, RunState

_PAGE = 100


@click.command("ls")
@click.option("--state", "states", multiple=True, type=click.Choice(list(map(str, RunState))),
              help="Only runs in this state; may be repeated.")  # fmt: skip
@click.option("--outcome", "outcomes", multiple=True, type=click.Choice(list(map(str, Outcome))),
              help="Only runs that ended like this; may be repeated.")  # fmt: skip
@click.option("-q", "--queue", metavar="QUEUE", shell_complete=completion.queue,
              help="Only runs of this queue.")  # fmt: skip
@click.option("--limit", type=Whole(1), help=f"At most so many, the newest ({_PAGE}).")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--before", "before_id", metavar="ID", type=Whole(1),
              shell_complete=completion.run,
              help="Only runs older than this one: the next page.")  # fmt: skip
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
    before_id: int | None,
    as_json: bool,
) -> None:
    """List runs, the newest first.

    \b
    Examples:
      intendant ls
      intendant ls --state running -q gpu
      intendant ls --outcome failed --all --json
      intendant ls --limit 20 --before 381
    """
    if everything and limit is not None:
        raise click.UsageError("found --limit and --all, expected one of them")
    size = None if everything else limit or _PAGE
    with session.client() as client:
        found = client.runs(
            states=states, outcomes=outcomes, queue=queue, before_id=before_id,
            limit=size and size + 1,
        )  # fmt: skip
    page = found[:size]
    click.echo(render.as_json(page) if as_json else render.runs(page, render.clock()))
    if len(found) > len(page) and not as_json:
        click.echo(f"intendant: older ones: --before {page[-1]['id']}", err=True)
