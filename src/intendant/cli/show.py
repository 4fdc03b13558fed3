"""`intendant show`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import endpoint_option, json_option, run_argument
from intendant.cli.session import Session


@click.command("show")
@run_argument
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: str, as_json: bool) -> None:
    """Show all there is to know about one run.

    \b
    Examples:
      intendant show 17
      intendant show last --json
    """
    with session.client() as client:
        details = client.show(selection)
    if as_json:
        click.echo(render.as_json(details["run"]))
    else:
        click.echo(render.run_details(details, render.clock()))
