"""Structured logs: JSON lines on stderr, a readable form on a terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


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


def configure(level: str, *, role: str) -> None:
    """Set up this process's log; every line carries `role`. Callable again to change the level."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(
            file=cast(TextIO, LossyStream(sys.stderr.fileno()))
        ),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(role=role)
