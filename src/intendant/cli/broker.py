"""`intendant broker`."""

from __future__ import annotations

import click

from intendant.cli.parameters import Duration
from intendant.protocol import mdp


@click.command("broker")
@click.option("--listen", metavar="URI", multiple=True, required=True,
              help="Where to listen: ipc://PATH or tcp://HOST:PORT; may be repeated.")  # fmt: skip
@click.option("--heartbeat", type=Duration(), default=mdp.HEARTBEAT_S, metavar="DUR",
              help=f"Between two signs of life ({mdp.HEARTBEAT_S:g} s).")  # fmt: skip
@click.option("--liveness", type=click.IntRange(2, 100), default=mdp.LIVENESS, metavar="N",
              help=f"Silent intervals until a worker is lost ({mdp.LIVENESS}).")  # fmt: skip
@click.option("--redeliver", metavar="SERVICE", multiple=True,
              help="Give a request of this service to another worker, once, if its worker was "
                   "lost before any answer; may be repeated.")  # fmt: skip
def verb(
    *, listen: tuple[str, ...], heartbeat: float, liveness: int, redeliver: tuple[str, ...]
) -> int:
    """Run the broker alone, open to any service.

    \b
    Examples:
      intendant broker --listen tcp://127.0.0.1:5555
      intendant broker --listen ipc:///run/user/1000/broker.sock --redeliver resize
    """
    from intendant.broker.server import run_alone

    return run_alone(listen, heartbeat_s=heartbeat, liveness=liveness, redeliver=redeliver)
