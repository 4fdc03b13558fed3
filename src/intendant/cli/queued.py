"""Runs that were queued are named, whatever becomes of the output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import click


@contextmanager
def named_in_any_case(run_ids: Sequence[int]) -> Iterator[None]:
    """Say on stderr which runs were queued where stdout does not take their ids."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError:
        with suppress(OSError):
            ids = ", ".join(map(str, run_ids))
            click.echo(f"intendant: queued all the same: {ids}", err=True)
        raise
