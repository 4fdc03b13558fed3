"""`intendant logs`."""

from __future__ import annotations

import sys

import click

from intendant.cli.parameters import endpoint_option, run_argument
from intendant.cli.session import Session
from intendant.cli.sink import copy_log
from intendant.client.run import Stream


@click.command("logs")
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--stderr", "of_stderr", is_flag=True, help="Its stderr instead of its stdout.")
@click.option("--attempt", type=click.IntRange(1), help="This attempt's; the newest if left out.")
@endpoint_option
@click.pass_obj
def verb(
    session: Session, *, selection: str, follow: bool, of_stderr: bool, attempt: int | None
) -> None:
    """Print what a run has written.

    \b
    Examples:
      intendant logs 17
      intendant logs -f last
      intendant logs --stderr --attempt 1 17 > errors.txt
    """
    with session.client() as client:
        stream: Stream = "stderr" if of_stderr else "stdout"
        pieces = client.logs(selection, follow=follow, stream=stream, attempt=attempt)
        copy_log(pieces, sys.stdout)
