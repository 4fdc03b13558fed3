"""`intendant shutdown`."""

from __future__ import annotations

import click

from intendant.cli import render
from intendant.cli.parameters import endpoint_option, json_option
from intendant.cli.session import Session


@click.command("shutdown")
@click.option("--drain", is_flag=True, help="Start nothing new and wait for what runs.")
@click.option("--leave", is_flag=True, help="Let the runs go on; the next daemon adopts them.")
@click.option("--now", is_flag=True, help="Kill every run at once.")
@json_option
@endpoint_option
@click.pass_obj
def verb(session: Session, *, drain: bool, leave: bool, now: bool, as_json: bool) -> None:
    """End the daemon: every run in order, the queue is kept.

    \b
    Examples:
      intendant shutdown
      intendant shutdown --drain
      intendant shutdown --leave
    """
    policy = _policy(drain=drain, leave=leave, now=now)
    with session.client() as client:
        state = client.shutdown(policy)
    click.echo(render.as_json({"state": state}) if as_json else state)


def _policy(**flags: bool) -> str:
    chosen = [name for name, is_set in flags.items() if is_set]
    if len(chosen) > 1:
        found = " and ".join(f"--{name}" for name in chosen)
        raise click.UsageError(f"found {found}, expected one of them")
    return chosen[0] if chosen else "stop"
