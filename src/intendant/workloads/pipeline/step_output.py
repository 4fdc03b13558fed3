"""What an inline process, and all that it starts, prints: it comes by two pipes, and goes into the
logs of the step whose turn it is.

So a step that prints nothing costs neither files nor a folder, and each word is in its step's log
at once, whoever has written it and however that one ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from contextlib import suppress

from intendant.workloads.pipeline.step_folder import open_log

STREAMS = ("stdout", "stderr")
PIPE_BYTES = 1024 * 1024
"""Room for what is written while nobody reads; up to this anybody may ask for (pipe(7))."""
_COUNT = struct.Struct("i")


class StepOutput:
    """The reading ends of both pipes. `on_file` is called when a log has come into being."""

    def __init__(self, on_file: Callable[[], object] = lambda: None) -> None:
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in STREAMS]
        self.writers = [writer for _, writer in pipes]
        """For the process that prints; ours are closed by `let_go`."""
        self._on_file = on_file
        self._readers = [reader for reader, _ in pipes]
        self._logs: dict[int, int] = {}
        self._folder: str | None = None
        self._trouble: str | None = None
        loop = asyncio.get_running_loop()
        for reader in self._readers:
            with suppress(OSError):  # it is as large as it is
                fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            os.set_blocking(reader, False)
            loop.add_reader(reader, self._on_readable, reader)

    def let_go(self) -> None:
        """Close the writing ends, which somebody else has now."""
        while self.writers:
            os.close(self.writers.pop())

    def begin(self, folder: str) -> None:
        """From now on it is of the step whose attempt has this folder."""
        self._close_logs()
        self._folder = folder
        self._trouble = None

    def catch_up(self) -> str | None:
        """Take in what has been written so far; why it could not be kept, if it could not."""
        for reader in self._readers:
            if waiting := _COUNT.unpack(fcntl.ioctl(reader, termios.FIONREAD, _COUNT.pack(0)))[0]:
                self._take(reader, waiting)
        return self._trouble

    def close(self) -> None:
        """Let go of everything; whoever still writes hears that nobody reads."""
        self._close_logs()
        self.let_go()
        while self._readers:
            reader = self._readers.pop()
            asyncio.get_running_loop().remove_reader(reader)
            os.close(reader)

    def _on_readable(self, reader: int) -> None:
        with suppress(BlockingIOError):  # it has just been taken
            if not self._take(reader, PIPE_BYTES):
                asyncio.get_running_loop().remove_reader(reader)

    def _take(self, reader: int, size: int) -> bytes:
        data = os.read(reader, size)
        if data and self._trouble is None and self._folder is not None:
            try:
                self._write(self._readers.index(reader), self._folder, data)
            except OSError as error:  # read on all the same: the step must not hang
                self._trouble = f"log: {error.strerror}"
        return data

    def _write(self, number: int, folder: str, data: bytes) -> None:
        is_new = number not in self._logs
        if is_new:
            self._logs[number] = open_log(folder, STREAMS[number])
        view = memoryview(data)
        while view:
            view = view[os.write(self._logs[number], view) :]
        if is_new:
            self._on_file()

    def _close_logs(self) -> None:
        while self._logs:
            os.close(self._logs.popitem()[1])
