"""`intendant explain`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import ONE_RUN, endpoint_option, json_option, run_argument
from intendant.cli.session import Session


@click.command("explain", epilog=ONE_RUN)
@run_argument
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: str, as_json: bool) -> None:
    """Say why a run waits, or what it does.

    \b
    Examples:
      intendant explain 17
      intendant explain last --json
    """
    with session.client() as client:
        found = client.explain(selection)
    if as_json:
        click.echo(render.as_json(found))
    else:
        click.echo(render.explanation(found, render.clock()))
