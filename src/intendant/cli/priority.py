"""`intendant priority`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import ONE_RUN, PRIORITY, endpoint_option, json_option, run_argument
from intendant.cli.session import Session


# Without `ignore_unknown_options` a negative number is taken for an option.
@click.command("priority", context_settings={"ignore_unknown_options": True}, epilog=ONE_RUN)
@run_argument
@click.argument("priority", metavar="N", type=PRIORITY)
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: str, priority: int, as_json: bool) -> None:
    """Move a run in its queue: higher starts first.

    \b
    Examples:
      intendant priority 17 5
      intendant priority last -1
    """
    with session.client() as client:
        answer = client.set_priority(selection, priority)
    [run] = answer["runs"]
    click.echo(render.as_json(run) if as_json else f"{run['id']}: priority {run['priority']}")
