"""The machine that tests share when several workers run them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def occupied(folder: Path, *, alone: bool) -> Iterator[None]:
    """Beside the other workers' tests, or with the machine to oneself.

    Who wants to be alone waits inside the turnstile, so that nobody else enters meanwhile.
    """
    with (folder / "turnstile").open("w") as turnstile, (folder / "machine").open("w") as machine:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(machine, fcntl.LOCK_UN)  # a child may hold the file open: it holds no lock
