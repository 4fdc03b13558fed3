"""The processes of trials, seen from the study: warm ones are kept for the next trial.

A trial is over when its process says so and is kept, or when its keeper says that nothing of its
tree is left.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Mapping
from typing import Any

import structlog

from intendant.trial import MAX_LINE_BYTES, too_long
from intendant.workloads.nursery import Nursery, Tree, TreeEnd
from intendant.workloads.study.hearing import Hear
from intendant.workloads.study.trials import Ending

log = structlog.get_logger()

MAX_UNREAD_BYTES = 256 * 1024
"""Answers that a trial has not read: then it does not care, and gets none any more."""

Order = Mapping[str, Any]


class TrialProcess:
    """One process for trials, one after another."""

    def __init__(self, tree: Tree, channel: socket.socket) -> None:
        self._tree = tree
        self.hear: Hear = lambda _: None
        """Who is told of reports."""
        self._lines = _Lines(channel, self._on_line)
        self._over: asyncio.Future[Ending] | None = None
        self._said: Ending | None = None
        self._is_command = False
        self._is_ending = False
        self.pid: int | None = None
        tree.ended.add_done_callback(self._on_tree_ended)

    @classmethod
    async def make(cls, nursery: Nursery, *, is_last: bool) -> TrialProcess:
        """A new one; `is_last`: none is likely to follow."""
        tree, channel = nursery.bear(is_last=is_last)
        process = cls(tree, channel)
        await asyncio.get_running_loop().create_connection(lambda: process._lines, sock=channel)
        return process

    async def carry_out(self, order: Order) -> Ending:
        """Have a trial carried out; how it ended, once nothing of it runs any more."""
        self._over = asyncio.get_running_loop().create_future()
        self._said = None
        self._is_command = order["argv"] is not None
        if self._tree.ended.done():
            self._on_tree_ended(self._tree.ended)
        else:
            self._lines.write(order)
        try:
            return await self._over
        finally:
            self._over = None

    @property
    def is_warm(self) -> bool:
        """Whether it can take another trial: nobody has told it to end."""
        return not self._is_ending and not self._tree.ended.done()

    def answer(self, what: Mapping[str, Any]) -> None:
        """Answer the report that it waits with."""
        if not self._lines.write(what):
            log.debug("answer_not_read")

    def end(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL to the whole tree when the grace is over; no trial follows."""
        self._is_ending = True
        self._tree.end(grace_s)

    async def dismiss(self) -> None:
        """Let a warm one go."""
        self._lines.close()
        await asyncio.wait([self._tree.ended])

    def _on_line(self, said: Mapping[str, Any]) -> None:
        if said.keys() == {"pid"}:
            self.pid = self.pid or said["pid"]
        elif said.keys() == {"over", "is_last"}:
            over = said["over"]
            self._said = Ending(metrics=over.get("metrics"), error=over.get("error"))
            if self._is_ending:
                self._lines.close()  # it has outlived SIGTERM and would wait for another trial
            elif not said["is_last"] and self._over is not None and not self._over.done():
                self._over.set_result(self._said)
        else:
            self.hear(said)

    def _on_tree_ended(self, ended: asyncio.Future[TreeEnd]) -> None:
        self._lines.drain()  # what it said before its end comes before the end
        self._lines.close()
        if self._over is not None and not self._over.done():
            by_status = _by_status(ended.result(), pid=self.pid, is_command=self._is_command)
            self._over.set_result(self._said or by_status)


def _by_status(end: TreeEnd, *, pid: int | None, is_command: bool) -> Ending:
    """How a trial ended that has not said so itself, as commands never do."""
    where = f"(process {pid} on {socket.gethostname()})"
    if end.status is None:
        return Ending(error=f"process_lost: its keeper is gone {where}")
    if end.status < 0:
        return Ending(error=f"signal: {_signal_name(-end.status)} {where}")
    if end.status == 0 and not is_command:
        return Ending(error=f"process_lost: it exited without a word {where}")
    return Ending(error=None if end.status == 0 else f"exit_code: {end.status} {where}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names of their own
        return str(number)


class _Lines(asyncio.Protocol):
    """Lines of JSON, both ways, none of them endless."""

    def __init__(self, channel: socket.socket, on_line: Hear) -> None:
        self._channel = channel
        self._on_line = on_line
        self._buffer = bytearray()
        self._skipped = 0
        """Bytes of a line that is too long, of which nothing is kept."""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what a stream socket gets
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._take(line)
        if self._skipped or len(self._buffer) >= MAX_LINE_BYTES:
            self._skipped += len(self._buffer)
            self._buffer.clear()

    def write(self, what: Mapping[str, Any]) -> bool:
        """Whether it was taken: not by somebody who does not read, or is gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            return False
        transport.write(json.dumps(what).encode() + b"\n")
        return True

    def drain(self) -> None:
        """Take in what has come and was not read yet."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            while data := self._channel.recv(MAX_LINE_BYTES):
                self.data_received(data)
        except OSError:
            return

    def close(self) -> None:
        """Let go of the socket."""
        if self._transport is not None:
            self._transport.close()

    def _take(self, line: bytes) -> None:
        size, self._skipped = self._skipped + len(line) + 1, 0
        if size > MAX_LINE_BYTES:
            self._on_line({"unreadable": too_long(size)})
            return
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict):
            self._on_line(said)
        else:
            found = line[:200].decode(errors="replace")
            self._on_line({"unreadable": f"found {found!r}, expected a JSON object on one line"})
