"""How many connections a socket has, that one has ended, and the end of those that are too many.

libzmq accepts whoever comes; its monitor (zmq_socket_monitor(3)) tells of each connection with its
descriptor, and a descriptor can be shut down from outside: libzmq sees the end of the connection.
"""

from __future__ import annotations

import os
import socket as unix
import sys
from contextlib import suppress

import structlog
import zmq

from intendant.broker.sockets import Socket, receive_nowait
from intendant.logs import Sparingly

log = structlog.get_logger()

_ENDS = frozenset({zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED})


class Connections:
    """The connections of one socket, at most `limit` of them."""

    def __init__(self, socket: Socket, *, limit: int) -> None:
        self._socket = socket
        self._limit = limit
        self._open: dict[int, None] = {}
        self._refusals = Sparingly()
        self.monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED | sum(_ENDS))

    def pump(self) -> bool:
        """Take in what has happened, and end the newest if there are too many; whether one ended.

        To be called once at the start: a descriptor tells of nothing before it was found empty.
        """
        has_ended = False
        while (frames := receive_nowait(self.monitor)) is not None:
            event = int.from_bytes(frames[0][:2], sys.byteorder)
            descriptor = int.from_bytes(frames[0][2:6], sys.byteorder)
            if event in _ENDS:
                has_ended = True
                self._open.pop(descriptor, None)
            else:
                self._open[descriptor] = None
        if len(self._open) > self._limit:
            self._end_beyond(self._limit)
        return has_ended

    def _end_beyond(self, limit: int) -> None:
        for descriptor in list(self._open)[limit:]:
            del self._open[descriptor]
            shut_down(connection_at(descriptor))
            if (left_out := self._refusals.take()) is not None:
                log.warning("connection_refused", limit=limit, left_out=left_out)

    def close(self) -> None:
        """Close the monitor. Idempotent."""
        if not self.monitor.closed:
            self._socket.disable_monitor()
            self.monitor.close(linger=0)


def connection_at(descriptor: int) -> tuple[int, int] | None:
    """What tells a connection from the next one to have its descriptor: that and its inode."""
    try:
        return descriptor, os.fstat(descriptor).st_ino
    except OSError:  # it has ended
        return None


def shut_down(connection: tuple[int, int] | None) -> None:
    """End a tcp connection of ours, and nobody else: its descriptor may be another's by now."""
    if connection is None:
        return
    descriptor, inode = connection
    with suppress(OSError), unix.socket(fileno=os.dup(descriptor)) as found:
        is_this = os.fstat(found.fileno()).st_ino == inode
        if is_this and found.family in (unix.AF_INET, unix.AF_INET6):
            found.shutdown(unix.SHUT_RDWR)
