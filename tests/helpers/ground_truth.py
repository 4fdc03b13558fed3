"""What is so, whatever the daemon says: the rows on disk, and the processes in /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw

from intendant.process.identity import process_stat
from tests.helpers.stores import rows


def run_rows(state_dir: Path) -> dict[int, dict[str, Any]]:
    """Every run's row, by id, read from the database alone."""
    return {row["id"]: row for row in _query(state_dir, "SELECT * FROM run ORDER BY id")}


def attempt_rows(state_dir: Path, run_id: int) -> list[dict[str, Any]]:
    """The rows of a run's attempts."""
    return _query(state_dir, "SELECT * FROM attempt WHERE run_id = ? ORDER BY attempt", run_id)


def event_names(state_dir: Path, run_id: int) -> list[str]:
    """What happened to a run, in order."""
    query = "SELECT event FROM event WHERE run_id = ? ORDER BY seq"
    return [row["event"] for row in _query(state_dir, query, run_id)]


def processes_with(marker: str) -> dict[int, str]:
    """Every process with this text in its arguments, ended ones that nobody reaped apart."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            stat = process_stat(int(entry.name))
            if marker in arguments and stat is not None and stat.state != "Z":
                found[int(entry.name)] = arguments
    return found


def is_alive(pid: int) -> bool:
    """Whether this process exists and has not ended."""
    stat = process_stat(pid)
    return stat is not None and stat.state not in "ZX"


def none_alive(pids: Iterable[int]) -> bool:
    """Whether all of these have ended."""
    return not any(map(is_alive, pids))


def zombies_of(parent: int) -> list[int]:
    """The ended children that `parent` has not reaped."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    stats = ((pid, process_stat(pid)) for pid in pids)
    return [pid for pid, stat in stats if stat and stat.parent == parent and stat.state == "Z"]


def _query(state_dir: Path, query: str, *values: int) -> list[dict[str, Any]]:
    path = state_dir / "intendant.db"
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5000)
    try:
        return rows(connection, query, *values)
    finally:
        connection.close()
