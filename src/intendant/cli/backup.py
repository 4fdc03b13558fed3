"""`intendant backup`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from intendant.cli import render
from intendant.cli.parameters import json_option
from intendant.cli.session import Session
from intendant.protocol.folders import state_dir as default_state_dir


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Where the store and the spool are.")  # fmt: skip
@json_option
@click.pass_obj
def verb(session: Session, *, file: Path, state_dir: Path | None, as_json: bool) -> None:
    """Write the daemon's state to a tar archive, whether the daemon runs or not.

    FILE is compressed if its name ends in .gz or .tgz, and holds secrets: it is yours alone
    (mode 0600). Settings and keys are not in it.

    To restore it, unpack it into an empty state folder while no daemon runs there:

    \b
      mkdir -m 700 STATE && tar -xpf FILE -C STATE
      intendant fsck --state-dir STATE

    What was live in it is then interrupted, what was queued is started.

    \b
    Examples:
      intendant backup intendant-$(date +%F).tar.gz
      intendant backup --state-dir /var/lib/intendant /srv/backup/intendant.tar
    """
    from intendant.store.backup import back_up

    os.umask(0o077)
    made = back_up((state_dir or default_state_dir(session.environ)).absolute(), file.absolute())
    if as_json:
        click.echo(render.as_json({"file": str(file.absolute()), **asdict(made)}))
    else:
        runs = "run" if made.runs == 1 else "runs"
        click.echo(f"{file}: {made.runs} {runs}, {made.size_bytes / 2**20:.1f} MiB", err=True)
