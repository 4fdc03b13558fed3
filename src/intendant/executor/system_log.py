"""What daemon and governors have logged, as one: read from their files, put in order of time.

A file is read on from where it ended last time, whole lines only. Lines of several files that are
read at the same time are put in order; a line that comes late stays late.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from intendant.logs import older
from intendant.process.file_changes import FileChanges
from intendant.protocol.folders import system_log
from intendant.protocol.records import LogLevel, LogLine
from intendant.store.spool import Spool

MAX_LINE_BYTES = 8192
MAX_GOVERNOR_BYTES = 1024 * 1024
"""Of a governor's log at most so much, its end."""
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)


class SystemLogReader:
    """Reads on in the daemon's log and in those of the governors it is told of."""

    def __init__(
        self, state_dir: Path, spool: Spool, *, level: LogLevel, after: datetime | None
    ) -> None:
        self._daemon = Tail(system_log(state_dir))
        self._spool = spool
        self._governors: dict[tuple[int, int], Tail] = {}
        self._levels = frozenset(LEVELS[LEVELS.index(level) :])
        self._after = after
        self._changes = FileChanges(system_log(state_dir).parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._changes.__exit__()

    def read(
        self, attempts: Sequence[tuple[int, int]], *, only: Collection[int] | None
    ) -> list[LogLine]:
        """The new lines of the daemon and of these attempts' governors.

        `only`: of the daemon's lines those about these runs.
        """
        found = [line for line, run_id in self._of_daemon() if only is None or run_id in only]
        for run_id, attempt in attempts:
            found += self._of_governor(run_id, attempt)
        wanted = [line for line in found if self._is_wanted(line)]
        return sorted(wanted, key=lambda line: line.at)

    async def wait_change(self) -> None:
        """Return once one of the files may have grown."""
        await self._changes.wait_change()

    def _of_daemon(self) -> Iterator[tuple[LogLine, object]]:
        for raw, told in _parsed(self._daemon):
            yield _line(raw, told, str(told.get("role", "daemon"))), told.get("run_id")

    def _of_governor(self, run_id: int, attempt: int) -> Iterator[LogLine]:
        tail = self._governors.get((run_id, attempt))
        if tail is None:
            path = self._spool.attempt(run_id, attempt).log("governor")
            tail = Tail(path, last_bytes=MAX_GOVERNOR_BYTES)
            try:
                self._changes.watch_file(path)
            except FileNotFoundError:  # not yet, or no longer: looked for again next time
                return
            self._governors[run_id, attempt] = tail
        for raw, told in _parsed(tail):
            yield _line(raw, told, f"governor {run_id}.{attempt}")

    def _is_wanted(self, line: LogLine) -> bool:
        return line.level in self._levels and (self._after is None or line.at >= self._after)


class Tail:
    """A file that grows, and may be turned over."""

    def __init__(self, path: Path, *, last_bytes: int | None = None) -> None:
        self._path = path
        self._last_bytes = last_bytes
        self._inode: int | None = None
        self._offset = 0
        self.last_at = ""
        """The time of the last line that told one; before the first, of the file."""

    def read(self) -> list[bytes]:
        """The lines that are new, without their ends."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []
        try:
            status = os.fstat(descriptor)
            before: list[bytes] = []
            self.last_at = self.last_at or _rfc3339(status.st_mtime)
            if status.st_ino != self._inode:
                before = self._rest_of_older()
                self._inode = status.st_ino
                self._offset = max(0, status.st_size - (self._last_bytes or status.st_size))
            return before + self._lines(descriptor)
        finally:
            os.close(descriptor)

    def _rest_of_older(self) -> list[bytes]:
        """What was not read yet of the file that had the name before, if that is still there."""
        try:
            descriptor = os.open(older(self._path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []
        try:
            if os.fstat(descriptor).st_ino != self._inode:
                self._offset = 0
            return self._lines(descriptor)
        finally:
            os.close(descriptor)

    def _lines(self, descriptor: int) -> list[bytes]:
        data = _read_from(descriptor, self._offset)
        end = data.rfind(b"\n") + 1
        self._offset += end
        return data[:end].splitlines()


def _read_from(descriptor: int, offset: int) -> bytes:
    """All from `offset` on; a pread(2) may give less than was asked for."""
    pieces = []
    while piece := os.pread(descriptor, 1 << 20, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def _parsed(tail: Tail) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each new line and what it tells; one that is not ours (a traceback's) has the time before."""
    for raw in tail.read():
        told = _told(raw)
        tail.last_at = told.setdefault("timestamp", tail.last_at)
        yield raw, told


def _rfc3339(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat()


def _told(raw: bytes) -> dict[str, Any]:
    try:
        told = json.loads(raw)
        datetime.fromisoformat(told["timestamp"])
    except (ValueError, TypeError, KeyError):
        return {}
    return dict(told)


def _line(raw: bytes, told: dict[str, Any], source: str) -> LogLine:
    level = told.get("level")
    return LogLine(
        at=datetime.fromisoformat(told["timestamp"]),
        level=level if level in LEVELS else "error",
        source=source,
        text=raw[:MAX_LINE_BYTES].decode(errors="backslashreplace"),
    )
