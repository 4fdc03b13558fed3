"""Runs under an embedded daemon, from their submission to the summary.

Everything that happens becomes an event in one inbox, and the main thread does nothing but take
them out: it never sits in a request, so it sees a signal at once.

    watch      a thread: every change of a run, then that all have ended
    output     threads of `run_output`: copy what the runs write
    daemon     a thread: the daemon's own end
    signals    Ctrl-C, SIGTERM, SIGHUP: passed on to the daemon, which ends every run in order;
               a second one makes it kill them, and ends us whatever holds us up (`signals`)
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

import click

from intendant.cli import exit_status, render
from intendant.cli.await_runs import say_why
from intendant.cli.inbox import (
    AllEnded,
    DaemonEnded,
    Failed,
    Inbox,
    Interrupted,
    OutputDone,
    RunChanged,
)
from intendant.cli.progress import Progress, progress_on
from intendant.cli.run_output import LiveOutput, OrderedOutput, Output
from intendant.cli.signals import FORWARDED, Signals
from intendant.cli.step_output import StepOutput
from intendant.cli.study_view import trials_shown
from intendant.client.client import Client
from intendant.client.embedded import EmbeddedDaemon, death_explained, ended_early
from intendant.client.result import WITH_RESULT
from intendant.client.shapes import RunInfo
from intendant.client.wire import selectors
from intendant.errors import QueueNotFound
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.step_states import STEP_TARGET

LEFT_S = 30.0
"""How long what an earlier daemon left running may take to end."""
_GO_ON = frozenset({"pipeline", "study"})
_LIVE = [RunState.STARTING.value, RunState.RUNNING.value, RunState.STOPPING.value]
_NOT_WELL = [each.value for each in Outcome if each is not Outcome.SUCCEEDED]
_UNFINISHED = [state.value for state in RunState if state is not RunState.ENDED]


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs to see through, in file order, and those whose output is the result."""

    run_ids: list[int]
    leaves: list[int]
    has_study: bool = False

    @property
    def writes_itself(self) -> bool:
        """One run alone has the terminal to itself, but for a study, which is drawn."""
        return len(self.run_ids) == 1 and not self.has_study


@dataclass(slots=True)
class Account:
    """What is known so far: each run as it was last heard of, and the first signal."""

    runs: dict[int, RunInfo] = field(default_factory=dict)
    interrupted_by: int | None = None
    all_ended: bool = False
    daemon_ended: bool = False

    @property
    def status(self) -> int:
        """The exit status that stands for it."""
        if self.interrupted_by is not None:
            return exit_status.SIGNALLED + self.interrupted_by
        return exit_status.of_runs(self.runs.values())


def run_embedded(
    submissions: Sequence[Sequence[Mapping[str, object]]],
    state_dir: Path | None,
    *,
    secret_env: Mapping[str, str],
) -> int:
    """Carry out the runs of each submission, and what an earlier call left; the exit status."""
    inbox, daemon = Inbox(), EmbeddedDaemon(state_dir and state_dir.absolute())
    # From here on: a signal while the daemon starts waits until it can be passed on.
    with Signals(inbox, daemon):
        with daemon:
            daemon.keep_state = True
            with death_explained(daemon, go_on=_going_on(daemon.state_dir)):
                with daemon.client() as client:
                    if not submissions:
                        continue_unfinished(client)
                    with private_queues_explained():
                        plan = make_plan(client, submissions, secret_env=secret_env)
                account = _carry_out(daemon, plan, inbox) if plan.run_ids else Account()
            daemon.shut_down()  # which waits for the commands that are told of the ends
            failed_commands = list(daemon.logged("on_end_failed"))
            with_result = runs_with_result(account, daemon.state_dir)
            daemon.keep_state = account.status != exit_status.DONE or bool(with_result)
            kept = daemon.state_dir if daemon.keep_state or state_dir else None
        _say_how_it_ended(account, len(plan.run_ids))
        for failed in failed_commands:
            click.echo(
                f"intendant: on_end of run {failed['run_id']}: {failed['failure']}", err=True
            )
        if kept and with_result:
            _say_what_returned(with_result, kept)
        _say_what_is_left(account, len(plan.run_ids), kept, is_named=state_dir is not None)
    return account.status


def continue_unfinished(client: Client) -> None:
    """Queue anew every run that has not ended well; pipelines and studies go on where they got to.

    One of those that an earlier daemon has left running is about to end, for want of that daemon.
    The run of a step is its pipeline's business.
    """
    left = [run["id"] for run in client.runs(states=_LIVE, limit=None) if run["kind"] in _GO_ON]
    if left:
        client.wait(left, timeout_s=LEFT_S)
    ended = client.runs(outcomes=_NOT_WELL, limit=None)
    done_again = {run["spec"].get("retry_of") for run in client.runs(limit=None)}
    left_over = [
        run for run in ended if run["id"] not in done_again and not _carries_out_step(run["spec"])
    ]
    if left_over:
        goes_on = any(run["kind"] in _GO_ON for run in left_over)
        client.retry([run["id"] for run in left_over], continuing={} if goes_on else None)


def make_plan(
    client: Client,
    submissions: Sequence[Sequence[Mapping[str, object]]],
    *,
    secret_env: Mapping[str, str] = {},
) -> Plan:
    """Submit, after what is left from before."""
    unfinished = client.runs(states=_UNFINISHED, limit=None)[::-1]
    before = [run for run in unfinished if not _carries_out_step(run["spec"])]
    run_ids = [run["id"] for run in before]
    found = [run_ids[at] for at in _leaves([run["spec"] for run in before])]
    has_study = any(run["kind"] == "study" for run in before)
    for specs in submissions:
        has_study = has_study or any(_is_study(spec) for spec in specs)
        submitted = [run.id for run in client.submit_all(specs, secret_env=secret_env)]
        run_ids += submitted
        found += [submitted[at] for at in _leaves(specs)]
    return Plan(run_ids, found, has_study)


def _carries_out_step(spec: Mapping[str, object]) -> bool:
    workload = spec.get("workload")
    return isinstance(workload, Mapping) and workload.get("target") == STEP_TARGET


def _is_study(spec: Mapping[str, object]) -> bool:
    workload = spec.get("workload")
    return isinstance(workload, Mapping) and workload.get("kind") == "study"


def _leaves(specs: Sequence[Mapping[str, object]]) -> list[int]:
    """The places of the runs that no other one comes after."""
    awaited: set[object] = set()
    for spec in specs:
        after = spec.get("after")
        awaited.update(after if isinstance(after, list) else ())
    return [at for at, spec in enumerate(specs) if spec.get("name") not in awaited]


def _carry_out(daemon: EmbeddedDaemon, plan: Plan, inbox: Inbox) -> Account:
    """See the runs through to their end, or the daemon's."""
    stream, count = None if plan.writes_itself else sys.stderr, len(plan.run_ids)
    with (
        progress_on(stream, total=count) as progress,
        trials_shown(progress, daemon.client) as look_at,
    ):
        output = _output(daemon, plan, inbox, progress)
        inbox.start("watch", lambda: _watch(daemon, plan, inbox))
        inbox.start("daemon", lambda: inbox.put(DaemonEnded(daemon.wait())))
        return _take_events(daemon, inbox, output, progress, look_at)


def _output(daemon: EmbeddedDaemon, plan: Plan, inbox: Inbox, progress: Progress) -> Output:
    if plan.writes_itself:
        return _output_of_one(daemon, plan.run_ids[0], inbox)
    return OrderedOutput(daemon.client, inbox, plan.leaves, progress)


def _output_of_one(daemon: EmbeddedDaemon, run_id: int, inbox: Inbox) -> Output:
    with daemon.client() as client:
        is_pipeline = client.show([run_id])["run"]["kind"] == "pipeline"
    return (StepOutput if is_pipeline else LiveOutput)(daemon.client, inbox)


def _watch(daemon: EmbeddedDaemon, plan: Plan, inbox: Inbox) -> None:
    with daemon.client() as client:
        for run in client.watch(plan.run_ids, changes=True):
            inbox.put(RunChanged(run))
    inbox.put(AllEnded())


def _take_events(
    daemon: EmbeddedDaemon,
    inbox: Inbox,
    output: Output,
    progress: Progress,
    look_at: Callable[[RunInfo], None],
) -> Account:
    account = Account()
    while not account.daemon_ended and not (account.all_ended and output.is_done):
        event = inbox.get()
        if isinstance(event, Interrupted | DaemonEnded | Failed):
            _on_end(event, account, daemon)
        else:
            _on_progress(event, account, output)
            progress.show(account.runs.values())
            if isinstance(event, RunChanged):
                look_at(event.run)
    return account


def _on_progress(
    event: RunChanged | AllEnded | OutputDone, account: Account, output: Output
) -> None:
    match event:
        case RunChanged(run):
            account.runs[run["id"]] = run
            output.on_changed(run)
        case AllEnded():
            account.all_ended = True
            output.on_all_ended()
        case OutputDone():
            output.on_done()
        case _:
            assert_never(event)


def _on_end(
    event: Interrupted | DaemonEnded | Failed, account: Account, daemon: EmbeddedDaemon
) -> None:
    match event:
        case Interrupted(number):
            account.interrupted_by = account.interrupted_by or number
            daemon.send_signal(FORWARDED[signal.Signals(number)])
        case DaemonEnded(status):
            account.daemon_ended = True
            if account.interrupted_by is None:
                raise ended_early(daemon, status, go_on=_going_on(daemon.state_dir))
        case Failed(error):
            # After a signal the daemon is on its way out: it is its end that counts.
            if account.interrupted_by is None:
                raise error
        case _:
            assert_never(event)


@contextmanager
def private_queues_explained() -> Iterator[None]:
    """Nobody can make a queue of a daemon that ends with its runs: do not advise it."""
    try:
        yield
    except QueueNotFound as error:
        found = str(error).partition(";")[0]
        raise QueueNotFound(f"{found}; a private daemon has only the queue 'default'") from error


def _say_how_it_ended(account: Account, planned: int) -> None:
    runs = [account.runs[run_id] for run_id in sorted(account.runs)]
    if planned == 0:
        click.echo("intendant: nothing is left to do", err=True)
    elif planned > 1:
        click.echo(render.summary(runs, render.clock()), err=True)
        if account.interrupted_by is None:
            say_why(runs)
    elif runs and exit_status.of_run(runs[0]) and account.interrupted_by is None:
        click.echo(f"intendant: {render.ending(runs[0])}", err=True)


def runs_with_result(account: Account, state_dir: Path) -> list[int]:
    """The runs that succeeded and left more than an exit code, by id."""
    succeeded = [run for run in account.runs.values() if run["outcome"] == "succeeded"]
    run_ids = sorted(run["id"] for run in succeeded if run["kind"] in WITH_RESULT)
    if not run_ids:
        return []
    from intendant.cli.kept_runs import has_result

    return [run_id for run_id in run_ids if has_result(state_dir, run_id)]


def _say_what_returned(run_ids: Sequence[int], kept: Path) -> None:
    which = f"{'run' if len(run_ids) == 1 else 'runs'} {','.join(selectors(run_ids))}"
    look = f"intendant result --state-dir {shlex.quote(str(kept))} {run_ids[0]}"
    click.echo(f"intendant: what {which} returned: {look}", err=True)


def _say_what_is_left(account: Account, planned: int, kept: Path | None, *, is_named: bool) -> None:
    if kept is None or account.status == exit_status.DONE:
        return
    ended = sum(run["outcome"] is not None for run in account.runs.values())
    if ended < planned or account.interrupted_by is not None:
        click.echo(f"intendant: to go on: {_going_on(kept)}", err=True)
    elif not is_named:
        click.echo(f"intendant: the state is kept in {kept}", err=True)
        if (run_id := guilty(account)) is not None:
            look = f"intendant logs --state-dir {shlex.quote(str(kept))} {run_id}"
            click.echo(
                f"intendant: what run {run_id} wrote: {look}, its errors with --stderr", err=True
            )


def _going_on(state_dir: Path) -> str:
    return f"intendant run --continue --state-dir {shlex.quote(str(state_dir))}"


def guilty(account: Account) -> int | None:
    """A run whose output tells what went wrong: the first that started and failed."""
    started = [run for run in account.runs.values() if run["started_at"] is not None]
    failed = [run["id"] for run in started if exit_status.of_run(run) != exit_status.DONE]
    return min(failed, default=None)
