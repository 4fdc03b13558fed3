"""`intendant result`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from intendant.cli import render
from intendant.cli.parameters import ONE_RUN, endpoint_option, json_option, run_argument
from intendant.cli.session import Session
from intendant.cli.sink import copy_log
from intendant.client.result import RunResult
from intendant.errors import InvalidRequest


@click.command("result", epilog=ONE_RUN)
@run_argument
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
              help="Write it to a file, as it is; also a pickle.")  # fmt: skip
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Read it from this folder; needs no daemon.")  # fmt: skip
@json_option
@endpoint_option
@click.pass_obj
def verb(
    session: Session, *, selection: str, output: Path | None, state_dir: Path | None, as_json: bool
) -> None:
    """Print what a run returned, as JSON.

    That is what a function returned, the best trial of a study (of several
    metrics those that no other one beats), or an object of what the steps of
    a pipeline left, by step: those that left JSON, 1 MiB of it at most; the run's folder has all.
    With --json it comes in an object, together with how the run ended.

    \b
    Examples:
      intendant result 17
      intendant result last | jq .score
      intendant result 17 -o model.pickle
      intendant result 17 --json
      intendant result --state-dir state last
    """
    found = _found(session, selection, state_dir)
    data = _bytes_of(found)
    if output is not None:
        output.write_bytes(data)
    elif found.encoding == "pickle":
        raise InvalidRequest(f"the result of run {found.run_id} is a pickle: write it with -o FILE")
    if as_json:
        click.echo(render.as_json(_described(found)))
    elif output is None:
        copy_log([data, b"\n"], sys.stdout)


def _found(session: Session, selection: str, state_dir: Path | None) -> RunResult:
    if state_dir is not None:
        from intendant.cli.kept_runs import kept_result

        return kept_result(state_dir, selection)
    with session.client() as client:
        return client.result(client.show(selection)["run"]["id"])


def _described(found: RunResult) -> dict[str, object]:
    """The end of the run; `result` is null for a pickle, which was written to a file."""
    described: dict[str, object] = {
        "run_id": found.run_id, "outcome": found.outcome, "reason": found.reason,
        "exit_code": found.exit_code, "encoding": found.encoding,
    }  # fmt: skip
    return described | {"result": json.loads(found.data) if found.encoding == "json" else None}


def _bytes_of(found: RunResult) -> bytes:
    if found.encoding is None:
        why = found.outcome if found.reason is None else f"{found.outcome}, {found.reason}"
        raise InvalidRequest(f"run {found.run_id} left no result: {why}")
    return found.data
