"""Waiting for runs as `wait` and `submit --wait` do it: to their end, or letting go of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import click

from intendant.cli import exit_status
from intendant.cli.progress import progress_on
from intendant.cli.study_view import trials_shown
from intendant.client.client import Client
from intendant.client.run import Selection, texts
from intendant.client.shapes import RunInfo
from intendant.errors import DaemonLost


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
        with (
            progress_on(sys.stderr) as progress,
            trials_shown(progress, lambda: Client(client.address)) as look_at,
        ):
            for run in client.watch(
                selection, any=any, changes=progress.is_shown, timeout_s=timeout_s
            ):
                latest[run["id"]] = run
                progress.show(latest.values())
                look_at(run)
    except KeyboardInterrupt:
        click.echo(f"intendant: detached; {_go_on(selection, latest)}", err=True)
        return Awaited(exit_status.CANCELLED)
    except TimeoutError as error:
        left = _left(selection, latest)
        raise TimeoutError(f"not ended within {timeout_s:g} s: {left}") from error
    except DaemonLost as error:
        raise gone(error, f"wait {_left(selection, latest)}") from error
    ended = [latest[run_id] for run_id in sorted(latest) if latest[run_id]["outcome"]]
    return Awaited(exit_status.of_runs(ended), ended)


def gone(error: DaemonLost, verb: str) -> DaemonLost:
    """The same error, with what becomes of the runs and how to follow them again."""
    # Their governors need no daemon: they go on if it was killed, or told to leave.
    return DaemonLost(f"{error}; what runs may go on without it; later: intendant {verb}")


def _go_on(selection: Selection, latest: Mapping[int, RunInfo]) -> str:
    left = _left(selection, latest)
    which = f"run {left} goes on" if left.isdecimal() else "the runs go on"
    return f"{which}: intendant wait {left}"


def _left(selection: Selection, latest: Mapping[int, RunInfo]) -> str:
    """What was awaited, as one would ask for it again: `last` may mean another run by then."""
    asked = " ".join(texts(selection))
    return str(*latest) if asked == "last" and latest else asked
