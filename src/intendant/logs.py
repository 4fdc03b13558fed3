"""Structured logs: JSON lines on stderr, a readable form on a terminal."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

# Where rich can be imported, structlog imports it to draw tracebacks: 25 ms and 4 MB for each
# process, none of which draws any. A None makes the import fail
# (https://docs.python.org/3/reference/import.html#the-module-cache).
_IS_RICH_THERE = "rich" in sys.modules
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # typed as if there were no None
import structlog  # noqa: E402

if not _IS_RICH_THERE:
    del sys.modules["rich"]

SYSTEM_LOG_BYTES = 8 * 1024 * 1024
"""How large a system log grows before it is turned over."""


class LossyStream(io.TextIOBase):
    """Writes to a descriptor; what a full disk or a closed pipe refuses is lost, not raised.

    Nothing is kept in between either: what was refused once would fail again at the exit.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            os.write(self._descriptor, text.encode(errors="backslashreplace"))
        return len(text)


class SystemLog:
    """A file that several processes write, each line with one write(2) at its end (O_APPEND).

    A file that has grown to `limit_bytes` becomes the old one, in the place of the one before; so
    two of them are the most there is. What the disk refuses is lost, not raised.
    """

    def __init__(self, path: Path, *, limit_bytes: int = SYSTEM_LOG_BYTES) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._descriptor: int | None = None

    def write(self, line: str) -> None:
        """Append a line; all of it or, if there is no room, what fits."""
        with suppress(OSError):
            descriptor = self._open()
            os.write(descriptor, line.encode(errors="backslashreplace") + b"\n")
            if os.fstat(descriptor).st_size >= self._limit_bytes:
                self._turn_over(descriptor)

    def close(self) -> None:
        """Let the file go; idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        """The file that has the name now: another process may have turned it over."""
        if self._descriptor is None or not self._is_current(self._descriptor):
            self.close()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor

    def _turn_over(self, descriptor: int) -> None:
        """Rename the file, unless somebody else has, or is about to: the lock is on the file."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self._is_current(descriptor):
            self._path.rename(older(self._path))
        self.close()

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except FileNotFoundError:
            return False


class Sparingly:
    """Says of what strangers can cause whether it is logged: `per_minute` times a minute."""

    def __init__(self, per_minute: int = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._minute = 0
        self._taken = 0
        self._left_out = 0

    def take(self) -> int | None:
        """How many were left out since the last one that was logged; `None`: so is this one."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._taken = minute, 0
        if self._taken >= self._per_minute:
            self._left_out += 1
            return None
        self._taken += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


def older(path: Path) -> Path:
    """The name of a system log that has been turned over."""
    return path.with_name(f"{path.name}.1")


def configure(
    level: str, *, role: str, system_log: Path | None = None, to_file: bool = False
) -> None:
    """Set up this process's log: every line carries `role` and goes to stderr.

    It is JSON, but for people at a terminal; with `to_file` stderr is about to be a file. With a
    `system_log` it goes there too, as JSON whatever stderr is.
    """
    for_people = not to_file and sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        console_line if for_people else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *([] if system_log is None else [_copy_to(SystemLog(system_log))]),
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(
            file=cast(TextIO, LossyStream(sys.stderr.fileno()))
        ),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(role=role)
    set_level(level)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def console_line(
    logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
) -> str:
    """The readable form, in which no text of others is a command or a line of its own."""
    harmless = {key: _harmless(key, value) for key, value in event.items()}
    return str(_CONSOLE(logger, name, harmless))


def _harmless(key: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    spelled = _CONTROL.sub(lambda found: repr(found[0])[1:-1], value)
    return spelled if key == "exception" else spelled.replace("\n", "\\n")


_CONSOLE = structlog.dev.ConsoleRenderer()


def set_level(level: str) -> None:
    """Log this level and what is above it, from now on."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper()))
    )


def _copy_to(system_log: SystemLog) -> structlog.typing.Processor:
    as_json = structlog.processors.JSONRenderer()

    def copy(
        logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        system_log.write(str(as_json(logger, name, {**event})))
        return event

    return copy
