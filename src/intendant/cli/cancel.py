"""`intendant cancel`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import ALL_RUNS, endpoint_option, json_option, selection_argument
from intendant.cli.session import Session


@click.command("cancel", epilog=ALL_RUNS)
@selection_argument
@click.option("--reason", metavar="TEXT", help="Why; kept with the run.")
@click.option("--now", is_flag=True, help="Kill at once, without any grace.")
@json_option
@endpoint_option
@click.pass_obj
def verb(
    session: Session, *, selection: list[str], reason: str | None, now: bool, as_json: bool
) -> None:
    """End runs in order, wherever they are.

    \b
    Examples:
      intendant cancel 17
      intendant cancel 3,5-8 --reason "wrong data"
      intendant cancel all --now
    """
    with session.client() as client:
        answer = client.cancel(selection, reason=reason, now=now)
    click.echo(render.as_json(answer["runs"]) if as_json else render.change(answer))
