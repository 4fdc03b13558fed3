"""Runs that were queued are named, whatever becomes of the output, and after Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from intendant.errors import DaemonLost


@contextmanager
def named_in_any_case(run_ids: Sequence[int]) -> Iterator[None]:
    """Note on the error which runs were queued, where stdout takes no ids, or after Ctrl-C."""
    try:
        yield
    except TimeoutError:
        raise
    except (OSError, KeyboardInterrupt) as error:
        if not getattr(error, "__notes__", None):  # which name them already
            error.add_note(f"queued all the same: {', '.join(map(str, run_ids))}")
        raise


@contextmanager
def doubt_told() -> Iterator[None]:
    """Note that runs may have been queued where Ctrl-C or the limit comes before the answer."""
    try:
        yield
    except (KeyboardInterrupt, TimeoutError, DaemonLost) as error:
        error.add_note("no answer yet: it may be queued all the same; 'intendant ls' knows")
        raise
