"""`intendant broker`."""

from __future__ import annotations

import click


@click.command("broker")
@click.option("--listen", metavar="URI", multiple=True, required=True,
              help="Where to listen: ipc://PATH or tcp://HOST:PORT; may be repeated.")  # fmt: skip
def verb(*, listen: tuple[str, ...]) -> int:
    """Run the broker alone, open to any service.

    \b
    Examples:
      intendant broker --listen tcp://127.0.0.1:5555
      intendant broker --listen ipc:///run/user/1000/broker.sock
    """
    from intendant.broker.server import run_alone

    return run_alone(list(listen))
