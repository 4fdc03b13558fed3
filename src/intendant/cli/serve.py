"""`intendant serve`."""

from __future__ import annotations

from pathlib import Path

import click

from intendant.cli.parameters import Whole

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, resolve_path=True)


@click.command("serve")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings (TOML).")
@click.option("--state-dir", type=_FOLDER, help="Where the store and the spool are.")
@click.option("--runtime-dir", type=_FOLDER, help="Where the sockets are.")
@click.option("--listen", metavar="tcp://HOST:PORT", help="Answer there too, to those with a key.")
@click.option("--server-key-file", type=_FILE, help="The daemon's own key, for --listen.")
@click.option("--authorized-keys", type=_FILE, help="Whose keys are let in, and as whom (TOML).")
@click.option("--slots", type=Whole(1, 100_000), help="Runs live at once, over all queues.")
@click.option("--on-signal", type=click.Choice(["stop", "drain", "leave"]),
              help="What becomes of the runs at SIGTERM and SIGINT (stop).")  # fmt: skip
@click.option("--launcher", type=click.Choice(["zygote", "portable"]),
              help="How governors come to life (zygote).")  # fmt: skip
@click.option("--embedded", is_flag=True, hidden=True)
@click.option("--ready-fd", type=Whole(0), hidden=True)
@click.option("--life-line", type=Whole(0), hidden=True)
def verb(**flags: object) -> None:
    """Run the daemon in the foreground.

    \b
    Examples:
      intendant serve
      intendant serve --slots 8 --on-signal leave
      intendant serve --config intendant.toml --state-dir /var/lib/intendant
      intendant serve --listen tcp://0.0.0.0:5555
    """
    from intendant.protocol.building import forgo_plugins

    forgo_plugins()
    from intendant.executor.main import serve

    given = {name: value for name, value in flags.items() if value is not None}
    serve({name: value for name, value in given.items() if value is not False})
