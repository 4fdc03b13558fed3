"""`intendant hold`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import ALL_RUNS, endpoint_option, json_option, selection_argument
from intendant.cli.session import Session


@click.command("hold", epilog=ALL_RUNS)
@selection_argument
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: list[str], as_json: bool) -> None:
    """Keep queued runs from starting until they are released.

    \b
    Examples:
      intendant hold 17
      intendant hold all
    """
    with session.client() as client:
        answer = client.hold(selection)
    click.echo(render.as_json(answer["runs"]) if as_json else render.change(answer))
