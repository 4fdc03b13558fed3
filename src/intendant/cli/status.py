"""`intendant status`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import endpoint_option, json_option
from intendant.cli.session import Session


@click.command("status")
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, as_json: bool) -> None:
    """Show what the daemon is doing.

    \b
    Examples:
      intendant status
      intendant status --json
    """
    with session.client() as client:
        info = client.status()
    click.echo(render.as_json(info) if as_json else render.daemon(info, render.clock()))
