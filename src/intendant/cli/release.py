"""`intendant release`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import ALL_RUNS, endpoint_option, json_option, selection_argument
from intendant.cli.session import Session


@click.command("release", epilog=ALL_RUNS)
@selection_argument
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: list[str], as_json: bool) -> None:
    """Let held runs start.

    \b
    Examples:
      intendant release 17
      intendant release 3,5-8 --json
    """
    with session.client() as client:
        answer = client.release(selection)
    click.echo(render.as_json(answer["runs"]) if as_json else render.change(answer))
