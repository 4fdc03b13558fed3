"""`intendant fsck`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from intendant.cli import exit_status, render
from intendant.cli.escapes import visible
from intendant.cli.parameters import json_option
from intendant.cli.session import Session
from intendant.protocol.folders import state_dir as default_state_dir


@click.command("fsck")
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Where the store and the spool are.")  # fmt: skip
@json_option
@click.pass_obj
def verb(session: Session, *, state_dir: Path | None, as_json: bool) -> int:
    """Check database, spool and processes against each other while no daemon runs.

    A fault must not be, and makes the exit status 1. A note is mended by the next daemon.

    \b
    Examples:
      intendant fsck
      intendant fsck --state-dir /var/lib/intendant --json
    """
    from intendant.executor.fsck import fsck

    report = fsck((state_dir or default_state_dir(session.environ)).absolute())
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        click.echo(
            render.as_json({"ok": report.is_sound, "runs": report.runs, "findings": findings})
        )
    else:
        for finding in report.findings:
            click.echo(visible(f"{'fault' if finding.is_fault else 'note'}: {finding.text}"))
        if report.is_sound:
            click.echo(f"ok, {report.runs} {'run' if report.runs == 1 else 'runs'}")
    return exit_status.DONE if report.is_sound else exit_status.REFUSED
