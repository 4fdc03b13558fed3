"""Where a run's output goes: raw bytes for a program, harmless text for a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from intendant.cli.escapes import LogFilter


def copy_log(pieces: Iterable[bytes], stream: TextIO) -> int:
    """Write the pieces of a log as they come; how many bytes there were."""
    size = 0
    if not stream.isatty():
        for piece in pieces:
            stream.buffer.write(piece)
            stream.buffer.flush()
            size += len(piece)
        return size
    log_filter = LogFilter()
    for piece in pieces:
        stream.write(log_filter.feed(piece))
        stream.flush()
        size += len(piece)
    stream.write(log_filter.feed(b"", final=True))
    stream.flush()
    return size
