"""Waiting for runs as `wait` and `submit --wait` do it: to their end, or letting go of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from intendant.cli import exit_status, render
from intendant.cli.progress import progress_on
from intendant.cli.step_progress import as_of, count_of, steps_on
from intendant.cli.study_view import trials_shown
from intendant.client.client import Client
from intendant.client.run import Selection, texts
from intendant.client.shapes import RunInfo
from intendant.errors import DaemonLost
from intendant.protocol.selectors import parse_selection


@dataclass(frozen=True, slots=True)
class Awaited:
    """The runs that have ended, by id, and the exit status that stands for them."""

    status: int
    runs: list[RunInfo] = field(default_factory=list)


def await_runs(
    client: Client,
    selection: Selection,
    *,
    any: bool = False,
    timeout_s: float | None = None,
    steps: bool = False,
) -> Awaited:
    """Wait for all (or any). Ctrl-C ends the waiting, never the runs.

    `steps`: where it is for one pipeline alone, its steps are shown.
    """
    latest: dict[int, RunInfo] = {}
    left_s = timeout_s
    try:
        if steps and (only := _only_run(client, selection)):
            selection, latest[only["id"]] = [only["id"]], only
            left_s = _show_steps(client, only, timeout_s)
        with (
            progress_on(sys.stderr) as progress,
            trials_shown(progress, lambda: Client(client.address)) as look_at,
        ):
            is_shown = progress.is_shown
            for run in client.watch(selection, any=any, changes=is_shown, timeout_s=left_s):
                latest[run["id"]] = run
                progress.show(latest.values())
                look_at(run)
    except KeyboardInterrupt as interrupt:
        raise let_go(interrupt, selection, latest) from None
    except TimeoutError as error:
        left = _left(selection, latest)
        raise TimeoutError(f"not ended within {timeout_s:g} s: {left}") from error
    except DaemonLost as error:
        raise gone(error, f"wait {_left(selection, latest)}") from error
    ended = [latest[run_id] for run_id in sorted(latest) if latest[run_id]["outcome"]]
    return Awaited(exit_status.of_runs(ended), ended)


def let_go(
    interrupt: KeyboardInterrupt, selection: Selection, latest: Mapping[int, RunInfo]
) -> KeyboardInterrupt:
    """The same Ctrl-C, noting that the runs go on, and how to wait for them again.

    `latest`: the runs that were seen, by id.
    """
    if not getattr(interrupt, "__notes__", None):
        interrupt.add_note(f"detached; {_go_on(selection, latest)}")
    return interrupt


def say_why(runs: Sequence[RunInfo]) -> None:
    """Tell on stderr which runs did not succeed, and why."""
    for line in render.blame(runs):
        click.echo(f"intendant: {line}", err=True)


def _only_run(client: Client, selection: Selection) -> RunInfo | None:
    """The run that is meant, if it is one alone. Of `all`, those that have ended are not meant."""
    found = client.runs(selection=selection, limit=2)
    if len(found) != 1 or (found[0]["outcome"] and parse_selection(texts(selection)).all):
        return None
    return found[0]


def _show_steps(client: Client, run: RunInfo, timeout_s: float | None) -> float | None:
    """The steps of a pipeline until it has ended; what is left of the time."""
    if run["kind"] != "pipeline" or run["outcome"]:
        return timeout_s
    started = time.monotonic()
    title = run["name"] or f"run {run['id']}"
    with steps_on(sys.stderr, title, count_of(run)) as progress:
        for step in client.watch_steps([run["id"]], timeout_s=timeout_s):
            progress.show(as_of(step, run["submitted_at"]))
    return timeout_s and max(timeout_s - (time.monotonic() - started), 0.0)


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
