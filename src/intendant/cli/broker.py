"""`intendant broker`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from intendant.cli.parameters import Duration, Whole
from intendant.protocol import mdp

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("broker")
@click.option("--listen", metavar="URI", multiple=True, required=True,
              help="Where to listen: ipc://PATH or tcp://HOST:PORT; may be repeated.")  # fmt: skip
@click.option("--heartbeat", type=Duration(), default=mdp.HEARTBEAT_S, metavar="DUR",
              help=f"Between two signs of life ({mdp.HEARTBEAT_S:g} s).")  # fmt: skip
@click.option("--liveness", type=Whole(2, 100), default=mdp.LIVENESS, metavar="N",
              help=f"Silent intervals until a worker is lost ({mdp.LIVENESS}).")  # fmt: skip
@click.option("--redeliver", metavar="SERVICE", multiple=True,
              help="Give a request of this service to another worker, once, if its worker was "
                   "lost before any answer; may be repeated.")  # fmt: skip
@click.option("--memory", type=Whole(512, 2**24), default=2048, metavar="MIB",
              help="Address space of its process; one that needs more dies (2048).")  # fmt: skip
@click.option("--server-key-file", type=_FILE, help="The broker's own key, for tcp.")
@click.option("--authorized-keys", type=_FILE,
              help="Whose keys are let in by tcp (TOML); read again at SIGHUP.")  # fmt: skip
def verb(
    *,
    listen: tuple[str, ...],
    heartbeat: float,
    liveness: int,
    redeliver: tuple[str, ...],
    memory: int,
    server_key_file: Path | None,
    authorized_keys: Path | None,
) -> int:
    """Run the broker alone, open to any service.

    Without keys it listens at sockets and loopback addresses alone. Whoever is let in may offer
    any service. When its process dies, it is started again at once; what it had in hand is lost.

    \b
    Examples:
      intendant broker --listen tcp://127.0.0.1:5555
      intendant broker --listen ipc:///run/user/1000/broker.sock --redeliver resize
    """
    from intendant.broker.alone import run_alone
    from intendant.broker.authorized_keys import read_authorized_keys
    from intendant.broker.keys import read_pair

    if (server_key_file is None) != (authorized_keys is None):
        raise click.UsageError("expected --server-key-file and --authorized-keys together")
    return run_alone(
        listen,
        heartbeat_s=heartbeat,
        liveness=liveness,
        redeliver=redeliver,
        memory_mib=memory,
        server_key=None if server_key_file is None else read_pair(server_key_file),
        read_keys=partial(read_authorized_keys, authorized_keys) if authorized_keys else dict,
    )
