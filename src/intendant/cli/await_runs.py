"""Waiting for runs as `wait` and `submit --wait` do it: to their end, or letting go of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import click

from intendant.cli import exit_status
from intendant.cli.progress import progress_on
from intendant.client.client import Client
from intendant.client.run import Selection
from intendant.client.shapes import RunInfo


@dataclass(frozen=True, slots=True)
class Awaited:
    """The runs that have ended, by id, and the exit status that stands for them."""

    status: int
    runs: list[RunInfo] = field(default_factory=list)


def await_runs(
    client: Client, selection: Selection, *, any: bool = False, timeout_s: float | None = None
) -> Awaited:
    """Wait for all (or any). Ctrl-C ends the waiting, never the runs."""
    latest: dict[int, RunInfo] = {}
    try:
        with progress_on(sys.stderr) as progress:
            for run in client.watch(
                selection, any=any, changes=progress.is_shown, timeout_s=timeout_s
            ):
                latest[run["id"]] = run
                progress.show(latest.values())
    except KeyboardInterrupt:
        _say_detached(_still_open(latest) if latest else _named(selection))
        return Awaited(exit_status.CANCELLED)
    except TimeoutError as error:
        ids = ",".join(map(str, _still_open(latest) if latest else _named(selection)))
        raise TimeoutError(f"not ended within {timeout_s:g} s: {ids or 'the runs'}") from error
    ended = [latest[run_id] for run_id in sorted(latest) if latest[run_id]["outcome"]]
    return Awaited(exit_status.of_runs(ended), ended)


def _still_open(latest: Mapping[int, RunInfo]) -> list[int]:
    return [run_id for run_id, run in latest.items() if run["outcome"] is None]


def _named(selection: Selection) -> list[int]:
    """The ids in a selection: all that is known while the daemon has not answered."""
    several = [selection] if isinstance(selection, int | str) else selection
    return [one for one in several if isinstance(one, int)]


def _say_detached(run_ids: list[int]) -> None:
    ids = ",".join(map(str, run_ids))
    click.echo(
        f"intendant: detached; run {ids} goes on: intendant wait {ids}"
        if len(run_ids) == 1
        else f"intendant: detached; runs {ids or 'that were meant'} go on",
        err=True,
    )
