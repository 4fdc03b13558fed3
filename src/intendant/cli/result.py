"""`intendant result`."""

from __future__ import annotations

from pathlib import Path

import click

from intendant.cli.parameters import endpoint_option, run_argument
from intendant.cli.session import Session
from intendant.client.result import RunResult
from intendant.errors import InvalidRequest


@click.command("result")
@run_argument
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
              help="Write it to a file, as it is; also a pickle.")  # fmt: skip
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: str, output: Path | None) -> None:
    """Print what a call returned, as JSON.

    \b
    Examples:
      intendant result 17
      intendant result last | jq .score
    """
    with session.client() as client:
        found = client.result(client.show(selection)["run"]["id"])
    if output is not None:
        output.write_bytes(_bytes_of(found))
    elif found.encoding == "pickle":
        raise InvalidRequest(f"the result of run {found.run_id} is a pickle: write it with -o FILE")
    else:
        click.echo(_bytes_of(found))


def _bytes_of(found: RunResult) -> bytes:
    if found.encoding is None:
        why = found.outcome if found.reason is None else f"{found.outcome}, {found.reason}"
        raise InvalidRequest(f"run {found.run_id} left no result: {why}")
    return found.data
