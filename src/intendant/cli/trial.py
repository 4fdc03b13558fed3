"""`intendant trial`: what trials report, and what is asked of a study while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from intendant.cli import completion, render
from intendant.cli.parameters import ONE_RUN, Whole, endpoint_option, json_option
from intendant.cli.session import Session
from intendant.errors import InvalidRequest

if TYPE_CHECKING:
    from intendant.client.shapes import TrialInfo, TrialPage

_SHOWN = 20


@click.group("trial")
def verb() -> None:
    """See the trials of a study, add and stop some; report from inside one.

    \b
    Examples:
      intendant trial ls 17
      intendant trial add 17 lr=0.01 layers=3
      intendant trial stop 17 4
      intendant trial export 17 sqlite:///study.db
      intendant trial report step=3 loss=0.1 checkpoint=model/
    """


@verb.command("ls", epilog=ONE_RUN)
@click.argument("run", shell_complete=completion.run)
@click.option("--by-number", is_flag=True, help="In the order of their numbers.")
@click.option("--limit", type=Whole(1), default=_SHOWN, show_default=True)
@click.option("--all", "show_all", is_flag=True, help="However many there are.")
@click.option("--front", "only_front", is_flag=True,
              help="Only those that no other beats; of a study with several metrics.")  # fmt: skip
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="As a table for other programs.")
@endpoint_option
@click.pass_obj
def list_trials(
    session: Session,
    *,
    run: str,
    by_number: bool,
    limit: int,
    show_all: bool,
    only_front: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List the trials of a study, the best by its first metric first.

    \b
    Examples:
      intendant trial ls last
      intendant trial ls 17 --all --by-number --json
      intendant trial ls 17 --front
      intendant trial ls 17 --all --csv > trials.csv
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    wanted = None if show_all or only_front else limit
    with session.client() as client:
        page = client.trials([run], best_first=not by_number, limit=wanted)
    if only_front:
        page["trials"] = _front(page)
    if as_csv:
        from intendant.cli.trials_csv import csv_of

        click.echo(csv_of(page), nl=False)
    elif as_json:
        click.echo(render.as_json(page["trials"]))
    else:
        click.echo(render.trials(page, render.clock()))


def _front(page: TrialPage) -> list[TrialInfo]:
    from intendant.cli.front import on_front

    if not page.get("further_metrics"):
        raise InvalidRequest(
            f"run {page['run_id']} has one metric: --front is for studies with several"
        )
    return on_front(page)


@verb.command("add", epilog=ONE_RUN)
@click.argument("run", shell_complete=completion.run)
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@endpoint_option
@click.pass_obj
def add_trial(session: Session, *, run: str, values: tuple[str, ...]) -> None:
    """Have a study try these parameters too.

    Every parameter must be given, but those that are fixed.

    \b
    Examples:
      intendant trial add 17 lr=0.01 layers=3
    """
    params = dict(_pair(text) for text in values)
    with session.client() as client:
        client.trial_add([run], params)


@verb.command("stop", epilog=ONE_RUN)
@click.argument("run", shell_complete=completion.run)
@click.argument("numbers", nargs=-1, type=Whole(0), metavar="[TRIAL]...")
@endpoint_option
@click.pass_obj
def stop_trials(session: Session, *, run: str, numbers: tuple[int, ...]) -> None:
    """Stop some trials of a study; without numbers the study, which keeps what it has.

    \b
    Examples:
      intendant trial stop 17 4 5
      intendant trial stop 17
    """
    with session.client() as client:
        client.trial_stop([run], numbers)


@verb.command("export", epilog=ONE_RUN)
@click.argument("run", shell_complete=completion.run)
@click.argument("storage")
@click.option("--name", help="Of the study there; the run's name or id when left out.")
@endpoint_option
@click.pass_obj
def export_trials(session: Session, *, run: str, storage: str, name: str | None) -> None:
    """Write a study's trials to a storage of Optuna's, as a new study.

    The storage is a URL such as sqlite:///study.db, or the path of a journal; optuna-dashboard
    opens both. It is written on the daemon's machine alone.

    \b
    Examples:
      intendant trial export last sqlite:///study.db
      intendant trial export 17 study.journal --name digits
    """
    with session.client() as client:
        found = client.show([run])["run"]
        if found["kind"] != "study":
            raise InvalidRequest(f"run {found['id']} is a {found['kind']}: only a study has trials")
        folder = client.trials([run], limit=1)["folder"]
    from intendant.protocol.study import StudySpec
    from intendant.workloads.study.exporting import export

    spec = StudySpec.model_validate(found["spec"]["workload"])
    name = name or found["name"] or f"run-{found['id']}"
    count = export(Path(folder), spec, storage=storage, name=name)
    click.echo(f"{count} trials of run {found['id']} are in {storage} as {name!r}", err=True)


@verb.command("report")
@click.argument("said", nargs=-1, required=True, metavar="KEY=VALUE...")
def report(said: tuple[str, ...]) -> None:
    """Report metrics from inside a trial; prints continue, pause or stop.

    Three keys are no metrics: step, a whole number that grows from report to report; checkpoint,
    a folder or file to keep a copy of, from which the trial could go on.

    \b
    Examples:
      intendant trial report loss=0.1
      intendant trial report step=3 loss=0.1 accuracy=0.97 checkpoint=model/
    """
    from intendant import trial

    metrics = dict(_pair(text) for text in said)
    step, checkpoint = metrics.pop("step", None), metrics.pop("checkpoint", None)
    if step is not None and not isinstance(step, int):
        raise click.UsageError(f"found step={step}, expected a whole number")
    decision = trial.report(
        metrics, step=step, checkpoint=None if checkpoint is None else str(checkpoint)
    )
    click.echo(decision.value)


def _pair(text: str) -> tuple[str, object]:
    """A key with its value: a number where it is one, else a text."""
    key, is_pair, value = text.partition("=")
    if not (key and is_pair):
        raise click.UsageError(f"found {text!r}, expected KEY=VALUE")
    if key == "checkpoint":
        return key, value
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
