"""`intendant queue`."""

from __future__ import annotations

from typing import Any

import click

from intendant.cli import completion, render
from intendant.cli.parameters import Whole, endpoint_option, json_option
from intendant.cli.session import Session
from intendant.client.shapes import QueueInfo


@click.group("queue")
def verb() -> None:
    """Look at queues and change them.

    A run waits in one queue. A queue has slots of its own below those of the daemon, and can be
    paused. 'default' is always there.

    \b
    Examples:
      intendant queue ls
      intendant queue set gpu --slots 2
      intendant queue pause gpu
      intendant queue rm gpu
    """


class _Slots(Whole):
    """A number of slots; 0 stands for `all` that the daemon has."""

    name = "number or all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return 0 if value == "all" else super().convert(value, param, ctx)

    @property
    def _expected(self) -> str:
        return f"{super()._expected}, or all"


@verb.command("ls")
@json_option
@endpoint_option
@click.pass_obj
def list_queues(session: Session, *, as_json: bool) -> None:
    """List the queues.

    \b
    Examples:
      intendant queue ls
      intendant queue ls --json
    """
    with session.client() as client:
        _print(client.queues(), as_json=as_json)


@verb.command("set")
@click.argument("name", shell_complete=completion.queue)
@click.option("--slots", metavar="N|all", type=_Slots(1, 100_000), required=True,
              help="How many of its runs may be live at once; all: as many as in all.")  # fmt: skip
@json_option
@endpoint_option
@click.pass_obj
def set_queue(session: Session, *, name: str, slots: int, as_json: bool) -> None:
    """Make a queue, or change its slots; a smaller number ends nothing.

    \b
    Examples:
      intendant queue set gpu --slots 2
      intendant queue set gpu --slots all
    """
    with session.client() as client:
        _print(client.queue_set(name, slots=slots or None), as_json=as_json)


@verb.command("pause")
@click.argument("name", shell_complete=completion.queue)
@json_option
@endpoint_option
@click.pass_obj
def pause_queue(session: Session, *, name: str, as_json: bool) -> None:
    """Start nothing from a queue until it is resumed.

    \b
    Examples:
      intendant queue pause gpu
    """
    with session.client() as client:
        _print(client.queue_pause(name), as_json=as_json)


@verb.command("resume")
@click.argument("name", shell_complete=completion.queue)
@json_option
@endpoint_option
@click.pass_obj
def resume_queue(session: Session, *, name: str, as_json: bool) -> None:
    """Start runs from a queue again.

    \b
    Examples:
      intendant queue resume gpu
    """
    with session.client() as client:
        _print(client.queue_resume(name), as_json=as_json)


@verb.command("rm")
@click.argument("name", shell_complete=completion.queue)
@json_option
@endpoint_option
@click.pass_obj
def remove_queue(session: Session, *, name: str, as_json: bool) -> None:
    """Remove a queue that has no runs, not even ended ones: 'intendant prune' forgets those.

    \b
    Examples:
      intendant queue rm gpu
    """
    with session.client() as client:
        queue = client.queue_remove(name)
    click.echo(render.as_json(queue) if as_json else f"{queue['name']}: removed")


def _print(found: QueueInfo | list[QueueInfo], *, as_json: bool) -> None:
    if as_json:
        click.echo(render.as_json(found))
    else:
        click.echo(render.queues(found if isinstance(found, list) else [found]))
