"""`intendant retry`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import endpoint_option, json_option, selection_argument
from intendant.cli.session import Session


@click.command("retry")
@selection_argument
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: list[str], as_json: bool) -> None:
    """Queue runs that have ended anew; prints the ids of the new runs.

    A new run has the spec, the folder and the environment of the old one, and names it. Of runs
    that are tried again together, each waits for the new ones of those it came after.

    \b
    Examples:
      intendant retry 17
      intendant retry 3,5-8
      intendant wait $(intendant retry last)
    """
    with session.client() as client:
        ids = [run.id for run in client.retry(selection)]
        if as_json:
            click.echo(render.as_json(client.runs(selection=ids, limit=None)[::-1]))
            return
        for run_id in ids:
            click.echo(run_id)
