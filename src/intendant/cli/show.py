"""`intendant show`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import ONE_RUN, endpoint_option, json_option, run_argument
from intendant.cli.session import Session


@click.command("show", epilog=ONE_RUN)
@run_argument
@click.option("--steps", "only_steps", is_flag=True,
              help="The steps of a pipeline alone, with --json all about them.")  # fmt: skip
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: str, only_steps: bool, as_json: bool) -> None:
    """Show all there is to know about one run, and the steps of a pipeline.

    \b
    Examples:
      intendant show 17
      intendant show last --json
      intendant show 17 --steps --json
    """
    with session.client() as client:
        if only_steps:
            found = client.steps(selection)
            click.echo(render.as_json(found) if as_json else render.steps(found, render.clock()))
            return
        details = client.show(selection)
        is_pipeline = details["run"]["kind"] == "pipeline" and not as_json
        steps = client.steps(str(details["run"]["id"])) if is_pipeline else []
    if as_json:
        click.echo(render.as_json(details["run"]))
    else:
        click.echo(render.run_details(details, render.clock(), steps))
