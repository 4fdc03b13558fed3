"""`intendant trial`: what trials report, and what is asked of a study while it runs."""

from __future__ import annotations

import json

import click


@click.group("trial")
def verb() -> None:
    """Report from inside a trial.

    \b
    Examples:
      intendant trial report loss=0.1 step=3
      intendant trial report loss=0.1 checkpoint=model/
    """


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
