"""Runs that were queued are named, whatever becomes of the output, and after Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import click

from intendant.errors import DaemonLost


@contextmanager
def named_in_any_case(run_ids: Sequence[int]) -> Iterator[None]:
    """Name the runs that were queued on stderr where stdout takes no ids, or after Ctrl-C."""
    try:
        yield
    except TimeoutError:
        raise
    except (OSError, KeyboardInterrupt):
        with suppress(OSError):
            ids = ", ".join(map(str, run_ids))
            click.echo(f"intendant: queued all the same: {ids}", err=True)
        raise


@contextmanager
def doubt_told() -> Iterator[None]:
    """Say that runs may have been queued where Ctrl-C or the time limit comes before the answer."""
    try:
        yield
    except (KeyboardInterrupt, TimeoutError, DaemonLost):
        click.echo(
            "intendant: no answer yet: it may be queued all the same; 'intendant ls' knows",
            err=True,
        )
        raise
