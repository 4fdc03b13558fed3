"""Commits that reach the disk and are reported failed, as by a flush that could not be finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import apsw


@dataclass
class Doubt:
    """How many of the next commits are reported failed."""

    commits: int = 0

    def watch(self, connection: apsw.Connection) -> None:
        """Have a say in the connection's commits."""
        connection.set_commit_hook(lambda: self._before_commit(connection))

    def _before_commit(self, connection: apsw.Connection) -> bool:
        connection.set_wal_hook(self._after_commit)  # this late, or a pragma would replace it
        return False

    def _after_commit(self, *_: object) -> int:
        """What it says makes COMMIT fail, "though the commit will have still occurred" (SQLite)."""
        if self.commits == 0:
            return apsw.SQLITE_OK
        self.commits -= 1
        raise apsw.IOError("disk I/O error")


@contextmanager
def commits_in_doubt() -> Iterator[Doubt]:
    """Concerns the databases that are opened in here."""
    doubt = Doubt()
    apsw.connection_hooks.append(doubt.watch)
    try:
        yield doubt
    finally:
        apsw.connection_hooks.remove(doubt.watch)
