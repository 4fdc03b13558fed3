"""`intendant events`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TypeVar

import click

from intendant.cli import render
from intendant.cli.parameters import ALL_RUNS, Whole, endpoint_option, json_option, runs_argument
from intendant.cli.session import Session
from intendant.cli.standard_streams import end_with_the_reader

Thing = TypeVar("Thing")


@click.command("events", epilog=ALL_RUNS)
@runs_argument
@click.option("-f", "--follow", is_flag=True,
              help="What happens from now on, as it happens.")  # fmt: skip
@click.option("--all", "everything", is_flag=True,
              help="With -f, what has happened so far as well.")  # fmt: skip
@click.option("--after", "after_id", metavar="N", type=Whole(0),
              help="Only what came after this event, even one that is yet to come.")  # fmt: skip
@json_option
@endpoint_option
@click.pass_obj
def verb(
    session: Session,
    *,
    selection: list[str],
    follow: bool,
    everything: bool,
    after_id: int | None,
    as_json: bool,
) -> None:
    """Print what happened to runs, the oldest first; with -f what happens from now on.

    With --json it is one array; with -f as well, one object a line.

    \b
    Examples:
      intendant events 17
      intendant events -f
      intendant events -f --all 17
      intendant events -f --json --after 4711
    """
    if everything and after_id is not None:
        raise click.UsageError("found --all and --after, expected one of them")
    if follow:
        end_with_the_reader()
    with session.client() as client:
        if after_id is None:
            after_id = client.last_event_id() if follow and not everything else 0
        found = client.events(selection, after_id=after_id, follow=follow)
        print_each(found, render.event, as_json=as_json, follow=follow)


def print_each(
    things: Iterable[Thing], as_text: Callable[[Thing], str], *, as_json: bool, follow: bool
) -> None:
    """A line for each thing as it comes; as JSON one array, or an object a line when following."""
    if as_json and not follow:
        click.echo(render.as_json(list(things)))
        return
    for thing in things:
        click.echo(json.dumps(thing) if as_json else as_text(thing))
