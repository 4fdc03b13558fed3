"""`intendant prune`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import ALL_RUNS, Duration, endpoint_option, json_option, runs_argument
from intendant.cli.session import Session


@click.command("prune", epilog=ALL_RUNS)
@runs_argument
@click.option("--older", "older_s", type=Duration(may_be_zero=True), required=True,
              help="Only runs that ended at least this long ago.")  # fmt: skip
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: list[str], older_s: float, as_json: bool) -> None:
    """Forget runs that ended long ago, and remove their folders with all that they wrote.

    Their events stay. A run that an unfinished one depends on is kept.

    \b
    Examples:
      intendant prune --older 30d
      intendant prune --older 0 3,5-8
    """
    with session.client() as client:
        gone = [run_id for page in client.prune(older_s=older_s, selection=selection)
                for run_id in page]  # fmt: skip
    if as_json:
        click.echo(render.as_json({"pruned": gone}))
    else:
        click.echo(f"pruned {len(gone)} {'run' if len(gone) == 1 else 'runs'}")
