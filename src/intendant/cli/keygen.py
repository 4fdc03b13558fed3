"""`intendant keygen`."""

from __future__ import annotations

from pathlib import Path

import click

from intendant.cli.session import Session
from intendant.protocol.folders import CLIENT_KEY_FILE, SERVER_KEY_FILE, configuration_dir
from intendant.protocol.roles import RANKED, is_account


@click.command("keygen")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--server", is_flag=True, help="The daemon's key instead of a client's.")
@click.option("--account", metavar="NAME", help="Print a line for the daemon's authorized keys.")
@click.option("--role", type=click.Choice(list(map(str, RANKED))),
              help="With --account: what the key allows (submit).")  # fmt: skip
@click.pass_obj
def verb(
    session: Session, *, file: Path | None, server: bool, account: str | None, role: str | None
) -> None:
    """Make a key for connections by tcp; print its public half.

    The file is yours alone (mode 0600) and holds the secret half; without FILE it is client.key or
    server.key beside your settings.

    \b
    Examples:
      intendant keygen --server
      intendant keygen ann.key --account ann --role submit >> authorized_keys.toml
    """
    from intendant.broker.keys import make_pair, write_pair

    if server and account is not None:
        raise click.UsageError("found --server and --account, expected one of them")
    if role is not None and account is None:
        raise click.UsageError("found --role, expected it with --account")
    if account is not None and not is_account(account):
        raise click.UsageError(f"found --account {account!r}, expected letters, digits and _.@-")
    name = SERVER_KEY_FILE if server else CLIENT_KEY_FILE
    path = file or configuration_dir(session.environ) / name
    pair = make_pair()
    write_pair(path, pair)
    click.echo(f"wrote both halves to {path}", err=True)
    if account is None:
        click.echo(pair.public)
    else:
        click.echo(f'"{pair.public}" = {{ account = "{account}", role = "{role or "submit"}" }}')
